// The npm package of the SDK, installed from its tarball: each example of its README is type-checked,
// bundled and run as it stands, but for the server's address.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import oldestTypeScript from 'typescript';
import { newPage } from './browser.mjs';
import { Server } from './server.mjs';

const run = promisify(execFile);
const sdk = fileURLToPath(new URL('../../clients/typescript/', import.meta.url));
const requireFromSdk = createRequire(path.join(sdk, 'package.json'));
const esbuild = requireFromSdk('esbuild');
const newestTypeScript = requireFromSdk('typescript');
// What the README's examples use besides the SDK, and all that these need.
const USED_BY_EXAMPLES = [
  'ws', 'react', 'react-dom', 'scheduler', 'loose-envify', 'js-tokens', 'csstype', 'undici-types',
  '@types/node', '@types/ws', '@types/react', '@types/react-dom', '@types/prop-types',
];

let project;
let installed;
let examples;

before(async () => {
  project = await mkdtemp(path.join(tmpdir(), 'raidhall-sdk-'));
  await run('npm', ['pack', '--silent', '--pack-destination', project], { cwd: sdk });
  const tarball = (await readdir(project)).find(name => name.endsWith('.tgz'));
  await write('package.json', '{ "private": true, "type": "module" }');
  await copyPackage('@msgpack/msgpack', 'msgpack');
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${tarball}`, './msgpack'], { cwd: project });
  for (const name of USED_BY_EXAMPLES) await copyPackage(name, `node_modules/${name}`);
  installed = path.join(project, 'node_modules/@raidhall/client');
  const readme = await readFile(path.join(installed, 'README.md'), 'utf8');
  examples = Object.fromEntries([...readme.matchAll(/^```(\w*)\n(.*?)^```/gms)].map(([, language, text]) => [language, text]));
  assert.deepEqual(Object.keys(examples), ['sh', 'js', 'ts', 'html', 'tsx'], 'each kind of example has a test here');
  assert.equal(readme.match(/^```\w/gm).length, 5, 'one example of each kind');
});
after(() => project && rm(project, { recursive: true, force: true }));

// Copies a package that the SDK's folder has, so that nothing is downloaded; without what npm would build it with.
async function copyPackage(name, folder) {
  const copy = path.join(project, folder);
  await cp(path.join(sdk, 'node_modules', name), copy, { recursive: true });
  const { scripts: _, devDependencies: __, ...described } = JSON.parse(await readFile(path.join(copy, 'package.json'), 'utf8'));
  await writeFile(path.join(copy, 'package.json'), JSON.stringify(described));
}

// Writes a file of the project. Returns its path.
async function write(name, text) {
  const file = path.join(project, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
  return file;
}

const withAddress = (example, server) => example.replaceAll('http://127.0.0.1:8080', server.url);

// Serves a folder of the project, from an origin that the Raidhall server allows. Returns both.
async function serve(t, folder) {
  const site = createServer(async (request, response) => {
    const name = request.url === '/' ? 'index.html' : request.url.slice(1);
    const text = await readFile(path.join(project, folder, name)).catch(() => null);
    response.writeHead(text === null ? 404 : 200, { 'content-type': name.endsWith('.js') ? 'text/javascript' : 'text/html' }).end(text ?? '');
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.after(() => site.close());
  const url = `http://127.0.0.1:${site.address().port}`;
  return { url, server: await Server.start(t, { RAIDHALL__SERVER__ALLOWED_ORIGINS: url }) };
}

// Bundles a module of the project into `app.js` of a folder with a page that loads it.
async function bundle(folder, entry) {
  const { warnings } = await esbuild.build({
    absWorkingDir: project, entryPoints: [entry], bundle: true, format: 'esm', target: 'es2020', jsx: 'automatic', logLevel: 'silent',
    outfile: path.join(project, folder, 'app.js'),
  });
  assert.deepEqual(warnings, []);
  await write(`${folder}/index.html`, '<!doctype html><meta charset="utf-8"><div id="app"></div><script type="module" src="app.js"></script>');
}

// Opens a page and fails the test at its end if the page complained.
async function open(t, url) {
  const complaints = [];
  const page = await newPage(t, {}, () => assert.deepEqual(complaints, []));
  page.on('pageerror', error => complaints.push(error.message));
  await page.goto(url);
  return page;
}

const titled = (page, title) => page.waitForFunction(title => document.title === title, title);

// Returns what a TypeScript compiler says about files of the project.
function complaintsOf(typescript, files, moduleResolution, options) {
  const { options: compilerOptions, errors } = typescript.convertCompilerOptionsFromJson({
    strict: true, noEmit: true, exactOptionalPropertyTypes: true, target: 'ES2022', jsx: 'react-jsx', moduleResolution,
    module: moduleResolution === 'node16' ? 'Node16' : 'ESNext', typeRoots: [path.join(project, 'node_modules/@types')], ...options,
  }, project);
  const program = typescript.createProgram(files, compilerOptions);
  return [...errors, ...typescript.getPreEmitDiagnostics(program)].map(({ file, start, messageText }) =>
    `${file ? `${path.relative(project, file.fileName)}:${file.getLineAndCharacterOfPosition(start).line + 1}: ` : ''}${typescript.flattenDiagnosticMessageText(messageText, '\n')}`);
}

test('the Node example runs', async t => {
  const server = await Server.start(t);
  const { stdout } = await run('node', [await write('play.mjs', withAddress(examples.js, server))], { cwd: project });
  assert.match(stdout, /^3 active$/m);
});

test('Node without a WebSocket says what to pass', async t => {
  const server = await Server.start(t);
  const without = withAddress(examples.js, server).replace(/^import WebSocket.*$/m, 'delete globalThis.WebSocket;').replace(', WebSocket });', ' });');
  await assert.rejects(run('node', [await write('without.mjs', without)], { cwd: project }), /pass one.*npm package ws/);
});

test('the example for a bundler runs in a page, and again after a reload', async t => {
  await write('bundled/play.ts', '');
  const { url, server } = await serve(t, 'bundled');
  await write('bundled/play.ts', withAddress(examples.ts, server));
  await bundle('bundled', 'bundled/play.ts');
  const page = await open(t, url);
  await titled(page, 'Ship it: active');
  const player = () => page.evaluate(() => JSON.parse(localStorage.getItem('session')).player.id);
  const before = await player();
  await page.reload();
  await titled(page, 'Ship it: active');
  assert.equal(await player(), before);
});

test('the example without a bundler runs from one file', async t => {
  const { url, server } = await serve(t, 'plain');
  await write('plain/index.html', withAddress(examples.html, server));
  await cp(path.join(installed, 'dist/raidhall.js'), path.join(project, 'plain/raidhall.js'));
  await titled(await open(t, url), 'Ship it: active');
});

test('the React example shows a raid and claims a task', async t => {
  const { url, server } = await serve(t, 'react');
  await write('react/board.tsx', examples.tsx);
  await write('react/main.tsx', `
    import { connect, Rest, Session } from '@raidhall/client';
    import { createRoot } from 'react-dom/client';
    import { Board } from './board.js';
    (async () => {
      const rest = new Rest({ url: '${server.url}' });
      const session = Session.begin(rest, await rest.guest('Ada'));
      const client = connect({ url: '${server.url}', getToken: session.getToken });
      const { id } = await rest.as(session).createRaid({ title: 'Ship it', target_xp: 100, target_tasks: 3 });
      for (const cmd of [{ type: 'start' }, { type: 'add_task', title: 'Docs', xp: 40, minutes: 0 }]) await client.raid(id).do(cmd);
      createRoot(document.getElementById('app')).render(<Board client={client} id={id} />);
    })();
  `);
  await bundle('react', 'react/main.tsx');
  const page = await open(t, url);
  await page.getByRole('button', { name: 'Docs: open' }).click();
  const claimed = page.getByRole('button', { name: 'Docs: claimed' });
  await claimed.click();
  await page.getByRole('alert').waitFor();
});

test('a page that cannot connect tells why: its origin, a wrong URL, or no server', async t => {
  const { url } = await serve(t, 'refused');
  const foreign = await Server.start(t);
  const ended = await Server.start(t);
  await ended.stop();
  await cp(path.join(installed, 'dist/raidhall.js'), path.join(project, 'refused/raidhall.js'));
  await write('refused/index.html', '<!doctype html><title>page</title>');
  const page = await open(t, url);
  const causes = [[foreign.url, 'origin'], [url, 'not_raidhall'], [ended.url, 'unreachable']];
  for (const [server, type] of causes) {
    const found = await page.evaluate(async ([server, type]) => {
      const { connect } = await import('./raidhall.js');
      const client = connect({ url: server, token: 'a token' });
      return new Promise(resolve => client.onStatus(() => {
        const { state, cause } = client.getStatus();
        if (cause?.type !== type) return;
        client.close();
        resolve(state);
      }));
    }, [server, type]);
    assert.match(found, /^(waiting|connecting)$/, type);
  }
});

test('a tab sends the commands of one that is closed', async t => {
  const { url, server } = await serve(t, 'tabs');
  await cp(path.join(installed, 'dist/raidhall.js'), path.join(project, 'tabs/raidhall.js'));
  await write('tabs/index.html', '<!doctype html><title>tab</title>');
  const open = await newPage(t);
  await open.goto(url);
  const closed = await open.context().newPage();
  await closed.goto(url);
  const begin = async ([url, isOffline]) => {
    const { connect, keptIn, Rest, Session, sessionIn } = await import('./raidhall.js');
    const rest = new Rest({ url });
    const stored = sessionIn(localStorage, 'session');
    const session = Session.resume(rest, stored) ?? Session.begin(rest, await rest.guest('Ada'), stored);
    const offline = () => Promise.reject(new Error('offline'));
    window.client = connect({ url, getToken: isOffline ? offline : session.getToken, storage: keptIn(localStorage, 'commands') });
    window.settled = [];
    window.client.onSettled(({ cmd }) => window.settled.push(cmd.type));
    window.raids = rest.as(session);
  };
  await open.evaluate(begin, [server.url, false]);
  await closed.evaluate(begin, [server.url, true]);
  const { id } = await open.evaluate(() => window.raids.createRaid({ title: 'Ship it', target_xp: 100, target_tasks: 3 }));
  await closed.evaluate(id => void window.client.raid(id).do({ type: 'start' }), id);
  await closed.waitForFunction(() => Object.keys(localStorage).some(key => key.startsWith('commands/')));
  await open.waitForFunction(() => window.client.getStatus().state === 'online');
  await closed.close();
  await open.waitForFunction(() => window.settled.length === 1);
  assert.equal((await open.evaluate(id => window.raids.raid(id), id)).status, 'active');
});

test('examples and types pass under strict, from TypeScript 5.0, without DOM types', async () => {
  const api = await write('types/api.ts', `
    import * as client from '@raidhall/client';
    import * as hooks from '@raidhall/client/react';
    const rest: client.Rest = new client.Rest({ url: '' });
    export const raid: Promise<client.RaidView> = rest.raid(7);
    export const view: client.WatchedRaid = client.connect({ url: '', token: '' }).raid(7).getView();
    export const useRaid = hooks.useRaid;
  `);
  const node = await write('types/play.ts', examples.js);
  const page = [await write('types/page.ts', examples.ts), await write('types/board.tsx', examples.tsx)];
  assert.match(oldestTypeScript.version, /^5\.0\./);
  for (const [typescript, resolution] of [[oldestTypeScript, 'node16'], [oldestTypeScript, 'bundler'], [newestTypeScript, 'bundler']]) {
    const said = [
      ...complaintsOf(typescript, [api], resolution, { lib: ['ES2022'], types: [] }),
      ...complaintsOf(typescript, [node], resolution, { lib: ['ES2022'], types: ['node'] }),
      ...complaintsOf(typescript, page, resolution, { lib: ['ES2022', 'DOM'], types: ['react'] }),
    ];
    assert.deepEqual(said, [], `TypeScript ${typescript.version}, ${resolution}`);
  }
});

test('source maps of the package need no file outside of it', async () => {
  const maps = (await readdir(path.join(installed, 'dist'))).filter(name => name.endsWith('.map'));
  assert.ok(maps.length > 0);
  for (const name of maps) {
    const { sources, sourcesContent } = JSON.parse(await readFile(path.join(installed, 'dist', name), 'utf8'));
    assert.equal(sourcesContent?.filter(Boolean).length, sources.length, name);
  }
});
