// Pages of other origins in a real browser: credentials and headers that a browser adds by itself
// must give no access.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { test } from 'node:test';
import { newPage } from './browser.mjs';
import { Server } from './server.mjs';

// Serves a page on another port of this machine: another origin, but the same site.
async function stranger(t) {
  const site = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<title>stranger</title>'));
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.after(() => site.close());
  return `http://127.0.0.1:${site.address().port}`;
}

async function open(t, url) {
  const page = await newPage(t);
  await page.goto(url);
  return page;
}

// Opens a WebSocket from the page. Returns 'open' or its close code.
const socket = (page, url) => page.evaluate(url => new Promise(resolve => {
  const socket = new WebSocket(url.replace('http', 'ws') + '/api/v1/ws', 'raidhall.v1.json');
  socket.onopen = () => resolve('open');
  socket.onclose = event => resolve(event.code);
}), url);

// Sends a request from the page. Returns the status that the page can read, or 'blocked'.
const read = (page, url) => page.evaluate(url => fetch(url + '/api/v1/auth/guest', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: '{"name":"Ada"}',
}).then(answer => answer.status, () => 'blocked'), url);

test('a page of another origin opens no WebSocket and reads no response', async t => {
  const server = await Server.start(t);
  const page = await open(t, await stranger(t));
  assert.equal(await socket(page, server.url), 1006);
  assert.equal(await read(page, server.url), 'blocked');
});

test('a sandboxed frame with a null origin opens no WebSocket', async t => {
  const server = await Server.start(t);
  const site = await stranger(t);
  const other = await open(t, site);
  const ended = await other.evaluate(url => new Promise(resolve => {
    addEventListener('message', event => resolve(event.data));
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = `<script>
      const socket = new WebSocket('${url.replace('http', 'ws')}/api/v1/ws', 'raidhall.v1.json');
      socket.onopen = () => parent.postMessage('open', '*');
      socket.onclose = event => parent.postMessage(event.code, '*');
    </script>`;
    document.body.append(frame);
  }), server.url);
  assert.equal(ended, 1006);
});

test('pages of the server and of an allowed origin open a WebSocket', async t => {
  const site = await stranger(t);
  const server = await Server.start(t, { RAIDHALL__SERVER__ALLOWED_ORIGINS: site });
  const own = await open(t, server.url);
  assert.equal(await socket(own, server.url), 'open');
  const allowed = await open(t, site);
  assert.equal(await socket(allowed, server.url), 'open');
  assert.equal(await read(allowed, server.url), 201);
});
