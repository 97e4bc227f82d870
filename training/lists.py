"""Lists as text, for those that are long in code."""


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


def phrases(text: str) -> list[str]:
    """The phrases between semicolons, with single spaces."""
    return [" ".join(phrase.split()) for phrase in text.split(";")]
