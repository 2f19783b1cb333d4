// A raid played in two windows of a real browser, against the built server: `make test` runs it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { newPage } from './browser.mjs';
import { Server } from './server.mjs';

const hostile = '<img src=x onerror="window.pwned=1"><b>'; // short enough for a name
const shots = fileURLToPath(new URL('../../target/screenshots', import.meta.url));
test('two windows win a raid together, through a crash of the server', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server, { viewport: { width: 1100, height: 800 } });
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: hostile, target_xp: 100, target_tasks: 2 });

  const bob = await open(t, server, { viewport: { width: 360, height: 740 }, colorScheme: 'dark' }, '#' + code);
  await signIn(bob, hostile);
  await sees(bob, '#title', hostile);
  await sees(ada, '#members', hostile);
  await ada.waitForFunction(() => document.querySelectorAll('#members .good').length === 2);

  await addTask(ada, 'Fix the build', 60);
  await addTask(bob, '<script>window.pwned=1</script>', 60);
  await ada.click('#start');
  await sees(bob, '#status', 'active');
  assert.match(await bob.textContent('#clock'), /^(59:5\d|01:00:00|1:00:00)$/);
  await taskButton(ada, 'Fix the build', 'Claim').click();
  await sees(bob, '#tasks', 'Ada');
  await taskButton(ada, 'Fix the build', 'Complete').click();
  await sees(bob, '#xp-text', '60 of 100 XP');

  await say(bob, hostile);
  await sees(ada, '#chat', hostile);
  await bob.click('#emotes button >> nth=0');
  await sees(ada, '#members', '🔥');
  await same(server, ada, bob);
  await ada.screenshot({ path: path.join(shots, 'playing.png') });
  await bob.screenshot({ path: path.join(shots, 'playing-360px.png'), fullPage: true });

  server.crash();
  for (const page of [ada, bob]) await sees(page, '#link', 'reconnecting');
  await ada.fill('#say input', 'sent into the silence');
  await ada.press('#say input', 'Enter');
  await sees(ada, '#link', '1 unsent');
  await taskButton(bob, '<script>', 'Claim').click();
  await sees(bob, '#link', '1 unsent');
  await bob.screenshot({ path: path.join(shots, 'server-gone-360px.png'), fullPage: true });
  await server.restart();

  for (const page of [ada, bob]) {
    await page.waitForFunction(() => document.querySelector('#link').textContent === 'live', null, { timeout: 60_000 });
    await sees(page, '#chat', 'sent into the silence');
    assert.equal(await page.locator('#chat li', { hasText: 'sent into the silence' }).count(), 1, 'said once');
  }
  await taskButton(bob, '<script>', 'Complete').click();
  for (const page of [ada, bob]) {
    await sees(page, '#status', 'victory');
    await sees(page, '#ranking', '60 XP');
  }
  await say(ada, 'well played');
  await sees(bob, '#chat', 'well played');
  await same(server, ada, bob);
  await ada.screenshot({ path: path.join(shots, 'victory.png') });

  for (const page of [ada, bob]) {
    assert.equal(await page.evaluate(() => window.pwned), undefined, 'a name ran as code');
    assert.equal(await page.locator('main img, main b b, main script').count(), 0, 'a name became markup');
  }
  assert.ok(await bob.evaluate(() => document.documentElement.scrollWidth <= 360), 'it scrolls sideways at 360 px');
});

test('a reload comes back to the raid, and the lobby lists it', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await page.screenshot({ path: path.join(shots, 'lobby.png') });
  const code = await create(page, { title: 'Ship it' });
  await page.reload();
  await sees(page, '#title', 'Ship it');
  assert.equal(await page.textContent('#code'), code);
  await page.click('#home');
  await sees(page, '#raids', 'Ship it');
  await page.click('#raids button');
  await sees(page, '#title', 'Ship it');
  assert.equal(new URL(page.url()).hash, '#' + code);
});

test('refusals are shown: a wrong code, a full raid, a task that another has', async t => {
  const server = await Server.start(t);
  const [ada, bob, eve] = await Promise.all([open(t, server), open(t, server), open(t, server)]);
  for (const [page, name] of [[ada, 'Ada'], [bob, 'Bob'], [eve, 'Eve']]) await signIn(page, name);
  await join(eve, '22222222');
  await sees(eve, '#notes', '(not_found)');
  const code = await create(ada, { title: 'Two only', max_members: 2 });
  await join(bob, code.toLowerCase());
  await sees(bob, '#title', 'Two only');
  await join(eve, code);
  await sees(eve, '#notes', '(raid_full)');
  assert.ok(await eve.isVisible('#lobby'));

  await addTask(ada, 'Only one may', 10);
  await ada.click('#start');
  await sees(bob, '#status', 'active');
  await taskButton(ada, 'Only one may', 'Claim').click();
  await sees(bob, '#tasks', 'Ada');
  await bob.evaluate(() => void act({ type: 'claim_task', task: room.state.tasks[0].id }));
  await sees(bob, '#notes', '(task_taken)');
});

test('the leader hands over and the new leader removes the old one', async t => {
  const server = await Server.start(t);
  const [ada, bob] = await Promise.all([open(t, server), open(t, server)]);
  await signIn(ada, 'Ada');
  await signIn(bob, 'Bob');
  await join(bob, await create(ada, { title: 'Succession' }));
  assert.equal(await bob.isVisible('#start'), false);
  await ada.locator('#members li', { hasText: 'Bob' }).getByText('Make leader').click();
  await bob.waitForSelector('#start', { state: 'visible' });
  await same(server, ada, bob);
  await bob.locator('#members li', { hasText: 'Ada' }).getByText('Kick').click();
  await sees(ada, '#notes', 'removed');
  assert.ok(await ada.isVisible('#lobby'));
  await bob.click('#cancel');
  await sees(bob, '#status', 'failed: cancelled');
});

test('an event or an answer that gets lost on the way is asked for again, and counts once', async t => {
  const server = await Server.start(t, { RAIDHALL__LIMITS__HEARTBEAT_MS: '1000' });
  const page = await open(t, server);
  let lose = () => false;
  await page.routeWebSocket('**/api/v1/ws', socket => {
    const upstream = socket.connectToServer();
    upstream.onMessage(message => {
      if (lose(JSON.parse(message))) lose = () => false;
      else socket.send(message);
    });
  });
  await page.reload();
  await signIn(page, 'Ada');
  await create(page, { title: 'Bad line' });

  lose = message => message.t === 'event' && message.type === 'said';
  await say(page, 'an event is lost');
  await sees(page, '#chat', 'an event is lost');

  lose = message => message.t === 'ack';
  await say(page, 'an answer is lost');
  await page.waitForFunction(() => pending.size === 1);
  await page.waitForFunction(() => pending.size === 0);
  await say(page, 'the end');
  await sees(page, '#chat', 'the end');
  assert.equal(await page.locator('#chat li', { hasText: 'an answer is lost' }).count(), 1);
  await same(server, page);
});

// A window of its own: its own player. Fails the test when the page throws or breaks its content security policy.
async function open(t, server, options = {}, hash = '') {
  const page = await newPage(t, options);
  const faults = [];
  page.setDefaultTimeout(20_000);
  page.on('pageerror', error => faults.push(String(error)));
  page.on('console', line => { if (line.type() === 'error' && /Content.Security.Policy/i.test(line.text())) faults.push(line.text()); });
  page.on('dialog', dialog => dialog.accept());
  t.after(() => assert.deepEqual(faults, []));
  await page.goto(server.url + '/' + hash);
  return page;
}

async function signIn(page, name) {
  await page.fill('#sign input', name);
  await page.click('#sign button');
  await sees(page, '#link', 'live');
}

async function create(page, fields) {
  for (const [name, value] of Object.entries(fields)) await page.fill(`#create [name=${name}]`, String(value));
  await page.click('#create button');
  await sees(page, '#title', fields.title);
  return page.textContent('#code');
}

async function join(page, code) {
  await page.fill('#join input', code);
  await page.click('#join button');
}

async function addTask(page, title, xp) {
  await page.fill('#add [name=title]', title);
  await page.fill('#add [name=xp]', String(xp));
  await page.click('#add button');
  await sees(page, '#tasks', title);
}

async function say(page, text) {
  await page.fill('#say input', text);
  await page.press('#say input', 'Enter');
}

const taskButton = (page, title, name) => page.locator('#tasks li', { hasText: title }).getByRole('button', { name });

async function sees(page, where, text) {
  await page.locator(where).filter({ hasText: text, visible: true }).waitFor();
}

// Snapshot plus events, folded by the page, is the state that the server answers.
async function same(server, ...pages) {
  for (const page of pages) {
    const token = await page.evaluate(() => me.access_token);
    const id = await page.evaluate(() => room.id);
    const answer = await fetch(`${server.url}/api/v1/raids/${id}`, { headers: { Authorization: `Bearer ${token}` } });
    const { seq, online, ws_url, ...state } = (await answer.json()).data;
    await page.waitForFunction(seq => room.seq >= seq, seq);
    assert.deepEqual(await page.evaluate(() => room.state), state);
    assert.deepEqual(await page.evaluate(() => [...room.online].sort()), [...online].sort());
  }
}
