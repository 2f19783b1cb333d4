// The built server as a child process with its own database in a temporary directory.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url));
const built = process.env.RAIDHALL_BIN ?? path.join(target, 'debug/raidhall');
const START_TIMEOUT_MS = 30_000;

export class Server {
  // Starts a server that stops after the test `t`. `settings` are environment variables.
  static async start(t, settings = {}) {
    const server = new Server();
    server.settings = settings;
    server.directory = await mkdtemp(path.join(tmpdir(), 'raidhall-browser-'));
    t.after(() => server.stop());
    await server.run('127.0.0.1:0');
    return server;
  }

  // Kills the process with SIGKILL: clients receive no close frame.
  crash() {
    this.child.kill('SIGKILL');
  }

  // Starts the server again on the same port, with the same database.
  async restart() {
    await this.ended;
    await this.run(new URL(this.url).host);
  }

  async stop() {
    this.child?.kill('SIGKILL');
    await this.ended;
    await rm(this.directory, { recursive: true, force: true });
  }

  // Sends a request as the host app's backend, and returns the data of the answer.
  async asBackend(route, body) {
    const { stdout } = await promisify(execFile)(built, ['token', '--scope', 'service', '--subject', 'tests'], this.options());
    const headers = { authorization: `Bearer ${stdout.trim()}`, 'content-type': 'application/json' };
    const answer = await fetch(`${this.url}/api/v1${route}`, { method: 'POST', headers, body: JSON.stringify(body) });
    const { data, error } = await answer.json();
    if (error) throw new Error(JSON.stringify(error));
    return data;
  }

  options() {
    const env = {
      PATH: process.env.PATH,
      RAIDHALL__DATABASE__URL: `sqlite://${this.directory}/raidhall.db`,
      RAIDHALL__TELEMETRY__METRICS_LISTEN: '',
      ...this.settings,
    };
    return { cwd: this.directory, env };
  }

  async run(listen) {
    const { cwd, env } = this.options();
    const child = spawn(built, ['serve'], { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { RAIDHALL__SERVER__LISTEN: listen, ...env } });
    this.child = child;
    this.ended = new Promise(resolve => child.once('exit', resolve).once('error', resolve));
    let log = '';
    child.stderr.on('data', chunk => { log = (log + chunk).slice(-8192); });
    this.url = await new Promise((resolve, reject) => {
      const fail = why => reject(new Error(`${why}\n${log}`));
      const timer = setTimeout(fail, START_TIMEOUT_MS, 'the server printed no address in time');
      child.on('error', error => fail(`the server could not be started: ${error.message}`));
      child.on('exit', code => fail(`the server exited with code ${code}`));
      createInterface({ input: child.stdout }).on('line', line => {
        const url = line.match(/http:\/\/127\.0\.0\.1:\d+/)?.[0];
        if (url) { clearTimeout(timer); resolve(url); }
      });
    });
  }
}
