"""A local speech understanding service: a spoken question in, its transcript and a tutor's answer out."""

__version__ = "0.2.0"

_EXPORTS = {
    "SpeechUnderstanding": "pipeline", "Understanding": "events", "PipelineConfig": "pipeline",
    "SpeechEncoder": "hubert", "ChatLlama": "llama", "load_audio": "audio", "HubertLlamaError": "errors",
}
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str):
    """Import what is asked for when it is asked for: `import hubert_llama` itself stays light."""
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"hubert_llama.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
