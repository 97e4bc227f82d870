// Behaves as Heilion's main/sidecarManager.js does: spawns the server, connects two seconds later, loads the
// models on every open, probes by connecting and closing, and gives the first result or error on the socket to
// every call that is waiting. Prints one line of JSON per step; tests/test_heilion.py reads them.
//
//   node heilion_client.js PYTHON PORT CLIP SCENARIO [server options…]

const { spawn } = require('child_process');
const WebSocket = require('ws');
const [python, port, clip, scenario, ...options] = process.argv.slice(2);
const say = (step, more = {}) => console.log(JSON.stringify({ step, ...more }));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const server = spawn(python, ['-m', 'hubert_llama.server', port, ...options]); // stdio: pipes
server.stdout.on('data', (data) => say('stdout', { text: data.toString() }));
server.stderr.on('data', () => {});
server.on('close', (code, signal) => say('server closed', { code, signal }));

class Sidecar {
  constructor() {
    this.waiting = [];
    this.messages = [];
    this.unclaimed = []; // results and errors that came when nobody waited
  }

  connect() {
    return new Promise((resolve, reject) => {
      this.socket = new WebSocket(`ws://localhost:${port}`);
      this.socket.on('open', () => {
        this.socket.send(JSON.stringify({ type: 'load_models' }));
        resolve();
      });
      this.socket.on('error', reject);
      this.socket.on('close', (code) => say('socket closed', { code }));
      this.socket.on('message', (data) => {
        const message = JSON.parse(data.toString());
        this.messages.push(message.type);
        if (message.type === 'models_loaded') say('models_loaded', message);
        if (message.type === 'result' || message.type === 'error') {
          const waiting = this.waiting;
          this.waiting = [];
          waiting.forEach((give) => give(message));
          if (waiting.length === 0) this.unclaimed.push(message);
        }
      });
    });
  }

  transcribe(audio_path, context = '') {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('timeout')), 60000);
      this.waiting.push((message) => {
        clearTimeout(timer);
        resolve(message);
      });
      this.socket.send(JSON.stringify({ type: 'transcribe', audio_path, context }));
    });
  }

  next() { // the next result or error that no call waits for; two frames may come in one packet
    return this.unclaimed.length ? Promise.resolve(this.unclaimed.shift()) : new Promise((resolve) => this.waiting.push(resolve));
  }
}

function probe() {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://localhost:${port}`);
    socket.on('open', () => { socket.close(); resolve(true); });
    socket.on('error', () => resolve(false));
  });
}

async function main() {
  say('spawned', { pid: server.pid });
  await sleep(2000);
  const sidecar = new Sidecar();
  await sidecar.connect();
  say('connected');
  if (scenario === 'die') { await sleep(500); say('dying'); process.kill(process.pid, 'SIGKILL'); }

  for (let i = 0; i < 3; i++) say('probe', { ok: await probe() });
  say('first', await sidecar.transcribe(clip, 'Course: Biology 101. Persona: friendly coach. Difficulty: beginner.'));
  say('missing', await sidecar.transcribe('/nowhere/heilion_recording_1.wav'));

  // two at once: the first answer resolves both calls, the second comes by itself and must be the other's
  const both = await Promise.all([sidecar.transcribe(clip), sidecar.transcribe('/nowhere/heilion_recording_2.wav')]);
  say('both', { same: both[0] === both[1], type: both[0].type, path: both[0].audio_path });
  say('other', await sidecar.next());

  const second = new Sidecar(); // the window was reloaded: another socket, and models asked for again
  await second.connect();
  say('second', await second.transcribe(clip));
  say('types', { types: [...new Set([...sidecar.messages, ...second.messages])].sort() });

  const pending = sidecar.transcribe(clip);
  server.kill('SIGTERM');
  say('pending', await pending);
  await sleep(5000);
  process.exit(0);
}

main().catch((e) => { say('failed', { error: String(e) }); server.kill('SIGKILL'); process.exit(1); });
