// Heilion's own code, from its repository: main/sidecarManager.js by itself, or main.js with stubs for Electron and the
// packages that have nothing to do with speech. Prints one line of JSON per step; tests/test_heilion_app.py reads them.
//
//   node heilion_app.js APP_FOLDER CLIPS_FOLDER SCENARIO      (in APP_FOLDER: node_modules/ws and the drop-in)

const childProcess = require('child_process');
const { EventEmitter } = require('events');
const fs = require('fs');
const Module = require('module');
const path = require('path');
const { pathToFileURL } = require('url');

const [folder, clips, scenario] = process.argv.slice(2);
const clip = (name) => path.join(clips, `${name}.ogg`);
const say = (step, more = {}) => process.stdout.write(`${JSON.stringify({ step, ...more })}\n`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const lines = []; // what the app writes to its console
for (const level of ['log', 'warn', 'error']) {
  console[level] = (...words) => {
    lines.push(words.join(' '));
    say('console', { level, text: words.join(' ') });
  };
}
process.on('uncaughtException', (e) => say('uncaught', { error: String(e) })); // Electron shows a dialog

let server = null; // the sidecar's process, which the app keeps to itself
const spawn = childProcess.spawn;
childProcess.spawn = (...args) => {
  server = spawn(...args);
  const { pid } = server;
  say('spawned', { pid, command: args[0] });
  server.on('exit', (code, signal) => say('server ended', { pid, code, signal }));
  return server;
};

async function until(what, seconds = 60) { // a line on the app's console, from now on
  for (const from = lines.length, end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
    if (lines.slice(from).some((line) => line.includes(what))) return true;
  }
  say('never came', { what });
  return false;
}

// ---- main/sidecarManager.js

async function sidecar() {
  const app = require(path.join(folder, 'main', 'sidecarManager.js'));
  const hear = (name) => app.transcribeWithHubertLlama(clip(name), 'Tutor persona: Virgo. Difficulty level: medium. ');
  say('before', await app.checkHubertLlamaAvailable());
  say('start', { ok: app.startHubertLlamaSidecar() });
  say('models loaded', { ok: await until('HuBERT+Llama message: models_loaded') });
  if (scenario === 'die') { say('dying'); process.kill(process.pid, 'SIGKILL'); }

  say('available', await app.checkHubertLlamaAvailable());
  const names = fs.readdirSync(clips).map((file) => path.parse(file).name).sort();
  for (const name of names) say('heard', { name, ...await hear(name) });
  say('wrong path', await app.transcribeWithHubertLlama('/nowhere/heilion_recording_1.wav'));
  say('after it', await hear('gravity'));

  server.kill('SIGKILL'); // the client finds out, and tries again every five seconds
  await until('sidecar exited');
  say('killed', await app.checkHubertLlamaAvailable());
  say('transcribe without a server', await hear('gravity'));
  say('start again', { ok: app.startHubertLlamaSidecar() });
  await until('HuBERT+Llama message: models_loaded');
  say('after the restart', await hear('gravity'));

  say('start while it runs', { ok: app.startHubertLlamaSidecar() }); // ends the one that runs first
  await until('HuBERT+Llama message: models_loaded');
  say('after the second restart', await hear('gravity'));

  const last = server;
  app.stopHubertLlamaSidecar();
  const ended = await Promise.race([new Promise((resolve) => last.once('exit', () => resolve(true))), sleep(5000)]);
  say('stopped', { ended: ended === true, ...await app.checkHubertLlamaAvailable() });
}

// ---- a server that the user has started, and an app that does not start one

async function byHand() {
  const app = require(path.join(folder, 'main', 'sidecarManager.js'));
  say('available', await app.checkHubertLlamaAvailable());
  say('heard', await app.transcribeWithHubertLlama(clip('gravity')));
}

// ---- a server that dies within a minute of a question, before the app's timer for that question fires

async function timer() {
  const { setTimeout } = global;
  let fire = null;
  global.setTimeout = (f, ms) => (ms === 60000 ? (fire = f) : setTimeout(f, ms));
  const app = require(path.join(folder, 'main', 'sidecarManager.js'));
  app.startHubertLlamaSidecar();
  await until('HuBERT+Llama message: models_loaded');
  say('heard', await app.transcribeWithHubertLlama(clip('gravity')));
  server.kill('SIGKILL');
  await until('sidecar exited');
  setTimeout(fire, 0);
  await sleep(500);
}

// ---- main.js: what the renderer does goes through the handlers that it registers

const anything = new Proxy(function () {}, { // whatever is asked of it is there, and is it
  get: (target, name) => (name === 'then' ? undefined : name === Symbol.toPrimitive ? () => 'stub' : anything),
  apply: () => anything,
  construct: () => anything,
  set: () => true,
});

function stubElectron() {
  const handlers = {};
  const app = Object.assign(new EventEmitter(), {
    isPackaged: false,
    setName() {},
    setAboutPanelOptions() {},
    getVersion: () => '1',
    getPath: () => folder,
    whenReady: () => Promise.resolve(),
    quit: () => app.emit('before-quit'),
  });
  const ipcMain = { handle: (name, handler) => { handlers[name] = (...args) => handler({}, ...args); }, on() {} };
  const electron = new Proxy({ app, ipcMain }, { get: (known, name) => known[name] || anything });
  const load = Module._load;
  Module._load = (request, parent, main) => {
    if (request === 'electron') return electron;
    const real = request === 'ws' || request.startsWith('.') || path.isAbsolute(request) || Module.isBuiltin(request);
    const inside = parent && parent.filename.includes('node_modules'); // ws looks for faster parts of itself
    return real || inside ? load(request, parent, main) : anything;
  };
  return { app, handlers };
}

async function main() {
  const { app, handlers } = stubElectron();
  require(path.join(folder, 'main.js'));
  say('models loaded', { ok: await until('HuBERT+Llama message: models_loaded', 30) });
  global.window = { electronAPI: { // as preload.js names them
    checkHubertLlama: handlers['check-hubert-llama'],
    transcribeWithHubertLlama: handlers['transcribe-with-hubert-llama'],
  } };
  const { transcribe } = await import(pathToFileURL(path.join(folder, 'sttManager.mjs')));
  const settings = { sttProvider: 'hubert-llama', activeCourseId: 3, selectedPersona: 'Virgo', difficulty: 'medium' };
  say('heard', await transcribe(clip('gravity'), settings));
  say('silence', await transcribe(path.join(folder, 'silence.wav'), settings));

  const recordings = fs.readdirSync(folder).filter((name) => name.startsWith('recorded.')); // by MediaRecorder
  for (const file of recordings) {
    const blob = Array.from(fs.readFileSync(path.join(folder, file)));
    const saved = await handlers['save-audio-blob'](blob, path.extname(file).slice(1));
    say('recorded', { file, ...saved, ...await transcribe(saved.filePath, settings) });
    fs.rmSync(saved.filePath, { force: true });
  }
  app.quit();
  await sleep(3000);
}

const scenarios = { sidecar, die: sidecar, byHand, timer, main };
scenarios[scenario]().catch((e) => say('failed', { error: String(e.stack) })).finally(() => process.exit(0));
