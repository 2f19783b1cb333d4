// The app on a bad network or offline, and the state that it keeps in the browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addTask, claim, create, joinAsGuest, online, open, pair, part, phone, press, same, say, sees, shot, signIn } from './app.mjs';
import { violations } from './axe.mjs';
import { Server } from './server.mjs';

test('commands given offline survive a reload and take effect once online', async t => {
  const server = await Server.start(t, { RAIDHALL__LIMITS__HEARTBEAT_MS: '2000' });
  const [ada, ben] = await pair(t, server, { title: 'Tunnel', xp: 500 }, {}, phone);
  await addTask(ada, 'Dig', 40);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await sees(ben, '#raid-status', 'In progress');
  await ben.evaluate(() => navigator.serviceWorker.ready);

  await ben.context().setOffline(true);
  await claim(ben, 'Dig');
  await sees(ben, '.task.mine.unsure', 'Dig');
  await sees(ben, '.connection', '1 change waiting to send');
  await press(ben, 'Dig', 'Complete');
  await sees(ben, '.task.completed.unsure', 'Dig');
  await sees(ben, '.connection', '2 changes waiting to send');
  await sees(ben, '.connection', 'Reconnecting');
  await sees(ada, '.member.offline', 'Ben');
  await ben.reload(); // the service worker serves the page
  await sees(ben, '.connection', '2 changes waiting to send');
  await sees(ben, '.offline-notice', /Offline – as of \d\d:\d\d/);
  await shot(ben, 'offline-phone');

  await ben.context().setOffline(false);
  await online(ben);
  await sees(ada, '.task.completed', 'Dig');
  await sees(ada, '#xp-gauge', '40 of 500 XP');
  await sees(ben, '#xp-gauge', '40 of 500 XP');
  await ben.waitForFunction(() => Object.keys(localStorage).every(key => !key.startsWith('raidhall.commands')));
  await same(server, ada, ben);
});

test('a lost network shows at once, and so does an emote that was not sent', async t => {
  const server = await Server.start(t, { RAIDHALL__LIMITS__HEARTBEAT_MS: '60000' }); // no heartbeat reveals the loss within the test
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await create(page, { title: 'Cut off' });
  await page.evaluate(() => addEventListener('offline', () => { window.lostAt = performance.now(); }));
  await page.evaluate(() => new MutationObserver(() => { window.shownAt ??= performance.now(); }).observe(document.querySelector('.connection'), { attributes: true }));
  await page.context().setOffline(true);
  await sees(page, '.connection', 'Reconnecting');
  assert.ok(await page.evaluate(() => window.shownAt - window.lostAt) < 1_000);
  await page.getByRole('button', { name: 'Send 🔥' }).click();
  await sees(page, '.notice', 'that emote wasn’t sent');
  await page.context().setOffline(false);
  await online(page);
  await page.getByRole('button', { name: 'Send 🔥' }).click();
  await sees(page, '.emoted', '🔥');
});

test('a lost event or reply is requested again and counts once', async t => {
  const server = await Server.start(t, { RAIDHALL__LIMITS__HEARTBEAT_MS: '1000' });
  const page = await open(t, server);
  let lose = () => false;
  await page.routeWebSocket('**/api/v1/ws', socket => {
    const upstream = socket.connectToServer();
    upstream.onMessage(message => {
      if (lose(Buffer.from(message).toString('latin1'))) lose = () => false;
      else socket.send(message);
    });
  });
  await page.reload();
  await signIn(page, 'Ada');
  await create(page, { title: 'Bad line' });

  lose = message => message.includes('said');
  await say(page, 'an event is lost');
  await sees(page, '.chat', 'an event is lost');
  await page.waitForFunction(() => !document.querySelector('.chat .unsure'));

  lose = message => message.includes('ack') && message.includes('duplicate');
  await say(page, 'an answer is lost');
  await page.waitForFunction(() => Object.keys(localStorage).some(key => key.startsWith('raidhall.commands')));
  await page.waitForFunction(() => Object.keys(localStorage).every(key => !key.startsWith('raidhall.commands')));
  await say(page, 'the end');
  await sees(page, '.chat', 'the end');
  assert.equal(await page.locator('.chat li', { hasText: 'an answer is lost' }).count(), 1);
  await same(server, page);
});

test('a phone on slow 3G opens an invite link and plays', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server);
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: 'Far away', xp: 40, tasks: 1 });
  await addTask(ada, 'Climb', 40);
  await ada.getByRole('button', { name: 'Start raid' }).click();

  // The values of Chromium's "slow 3G" preset.
  const slow = { offline: false, latency: 2_000, downloadThroughput: 50_000, uploadThroughput: 50_000 };
  const ben = await open(t, { url: 'about:blank#' }, phone);
  const wire = await ben.context().newCDPSession(ben);
  await wire.send('Network.enable');
  await wire.send('Network.emulateNetworkConditions', slow);
  ben.setDefaultTimeout(60_000);
  await ben.goto(`${server.url}/i/${code}`);
  await joinAsGuest(ben, 'Ben');
  await sees(ben, '#raid-title', 'Far away');
  await claim(ben, 'Climb');
  await press(ben, 'Climb', 'Complete');
  for (const page of [ada, ben]) await sees(page, '.outcome', 'Victory!');
  await same(server, ada, ben);
});

test('a reload keeps the session and the raid, and the lobby lists it', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await create(page, { title: 'Ship it' });
  await page.reload();
  await sees(page, '#raid-title', 'Ship it');
  await page.getByRole('button', { name: /My raids/ }).click();
  await sees(page, '.raid-card', 'Ship it');
  await page.getByRole('button', { name: 'Open Ship it' }).click();
  await sees(page, '#raid-title', 'Ship it');
  await page.goBack();
  await sees(page, 'h1', 'My raids');
});

test('the list has active raids first and past ones last, and is loaded again on focus', async t => {
  const server = await Server.start(t);
  const page = await open(t, server, phone);
  await signIn(page, 'Ada');
  const home = () => page.getByRole('button', { name: /My raids/ }).click();
  await create(page, { title: 'Under way', minutes: 2_880 });
  await page.getByRole('button', { name: 'Start raid' }).click();
  await sees(page, '#raid-status', 'In progress');
  for (const title of ['Ended', 'Gathering']) {
    await home();
    await create(page, { title });
  }
  await home();
  await page.getByRole('button', { name: 'Open Ended' }).click();
  await page.getByRole('button', { name: 'End raid' }).click();
  await page.locator('dialog').getByRole('button', { name: 'End raid' }).click();
  await sees(page, '.outcome', 'Defeat');
  await home();
  await sees(page, '.raid-card', 'Under way');
  assert.deepEqual(await page.locator('.raid-card b').allTextContents(), ['Under way', 'Gathering', 'Ended']);
  await sees(page, '.raid-card.active .when', /Time left: 1 d 23 h/);
  assert.ok(!(await page.locator('.raid-card', { hasText: 'Ended' }).isVisible()), 'past raids are folded');
  await page.getByText('Past raids').click();
  await page.locator('.raid-card', { hasText: 'Ended' }).waitFor();
  const top = selector => page.locator(selector).first().evaluate(element => element.getBoundingClientRect().top);
  assert.ok(await top('form.join') < await top('.to-create') && await top('.to-create') < await top('.raid-card'));

  const other = await page.context().newPage();
  await other.goto(server.url);
  await create(other, { title: 'From the other tab' });
  await page.evaluate(() => dispatchEvent(new Event('focus')));
  await sees(page, '.raid-card', 'From the other tab');
});

test('the list shows the faces and names of the first members', async t => {
  const server = await Server.start(t);
  const [ada] = await pair(t, server, { title: 'Together' }, phone);
  await ada.getByRole('button', { name: /My raids/ }).click();
  await sees(ada, '.raid-card .faces', 'Players: Ada, Ben');
  assert.deepEqual(await ada.locator('.raid-card .avatar').allTextContents(), ['A', 'B']);
  await shot(ada, 'lobby-phone');
});

test('without a network an empty raid does not ask for tasks or messages', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server);
  await signIn(ada, 'Ada');
  await create(ada, { title: 'Empty' });
  await sees(ada, '.panel', 'No tasks yet. Add the first one.');
  await sees(ada, '.chat', 'No messages yet. Say hi!');
  await ada.evaluate(() => navigator.serviceWorker.ready);
  await ada.context().setOffline(true);
  await ada.reload();
  await sees(ada, '.offline-notice', 'Offline – as of');
  await ada.getByText('No tasks yet.', { exact: true }).waitFor();
  await ada.getByText('No messages yet.', { exact: true }).waitFor();
});

test('without a network a reload shows the last view, read-only', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Tunnel', xp: 500 }, {}, phone);
  await addTask(ada, 'Dig', 40);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await say(ada, 'mind the gap');
  await claim(ada, 'Dig');
  await sees(ben, '.task.claimed', 'Dig');
  await ben.evaluate(() => navigator.serviceWorker.ready);

  await ben.context().setOffline(true);
  await ben.reload();
  await sees(ben, '.offline-notice', /Offline – as of \d\d:\d\d.*You can’t change anything/);
  await sees(ben, '#raid-title', 'Tunnel');
  await sees(ben, '.task.claimed', 'Dig');
  await violations(ben, 'the last view');
  await shot(ben, 'offline-view-phone');
  for (const name of ['Tasks', 'Party', 'Talk']) {
    await part(ben, name);
    assert.equal(await ben.locator('.raid :is(input, button):enabled').count(), 3, `${name}: only the parts can be chosen`);
  }
  await sees(ben, '.chat', /Ada.*mind the gap/);
  await ben.getByRole('button', { name: /My raids/ }).click();
  await ben.reload();
  await sees(ben, '.my-raids', 'Not up to date');
  await ben.getByRole('button', { name: 'Open Tunnel' }).click();
  await sees(ben, '.offline-notice', 'Offline – as of');

  await ben.context().setOffline(false);
  await online(ben);
  await ben.locator('.offline-notice').waitFor({ state: 'detached' });
  await part(ben, 'Talk');
  await say(ben, 'back');
  await sees(ada, '.chat', 'back');
  await same(server, ada, ben);
});

test('a raid that the player was removed from is no longer listed or kept', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Tunnel' });
  const views = () => ben.evaluate(() => Object.keys(localStorage).filter(key => /^raidhall\.raids\.\d+\.view\./.test(key)).length);
  await ben.getByRole('button', { name: /My raids/ }).click();
  await sees(ben, '.raid-card', 'Tunnel');
  assert.equal(await views(), 1);
  await ben.evaluate(() => navigator.serviceWorker.ready);
  await ben.context().setOffline(true);
  await ben.reload();
  await sees(ben, '.my-raids', 'Not up to date');
  await sees(ben, '.raid-card', 'Tunnel');
  await ada.getByRole('button', { name: 'Remove Ben' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'Remove' }).click();
  await ada.locator('.member', { hasText: 'Ben' }).waitFor({ state: 'detached' });
  await ben.context().setOffline(false);
  await sees(ben, '.my-raids', 'No raids yet');
  assert.deepEqual([await ben.locator('.raid-card').count(), await views()], [0, 0]);
});

test('a list that cannot be loaded says so', async t => {
  const server = await Server.start(t);
  const page = await open(t, server, { serviceWorkers: 'block' });
  await signIn(page, 'Ada');
  await sees(page, '.my-raids', 'No raids yet');
  const error = { type: 'rate_limited', message: 'Too fast', retry: true, retry_after_ms: 1_000, fields: null };
  await page.route(/\/api\/v1\/raids\?/, route => route.fulfill({ status: 429, json: { error } }));
  await page.reload();
  await sees(page, '.my-raids', 'Couldn’t load your raids.');
  assert.equal(await page.getByText('Not up to date').count(), 0);
  await page.unrouteAll();
  await sees(page, '.my-raids', 'No raids yet');
});

test('signing out deletes the commands that wait in every tab', async t => {
  const server = await Server.start(t);
  const one = await open(t, server);
  await signIn(one, 'Ada');
  await create(one, { title: 'Unsent' });
  const other = await one.context().newPage();
  await other.goto(one.url());
  await sees(other, '#raid-title', 'Unsent');
  server.crash();
  for (const page of [one, other]) {
    await sees(page, '.connection', 'Reconnecting');
    await say(page, 'a secret');
  }
  const commands = count => one.waitForFunction(count => Object.keys(localStorage).filter(key => key.startsWith('raidhall.commands.')).length === count, count);
  await commands(2);
  await one.getByLabel('Say something').fill('half a secret');
  await one.getByRole('button', { name: 'Sign out' }).click();
  await one.locator('dialog').getByRole('button', { name: 'Sign out' }).click();
  for (const page of [one, other]) await page.getByLabel('Your name').waitFor();
  await commands(0);
  assert.deepEqual(await one.evaluate(() => Object.entries(localStorage).filter(entry => entry.join().includes('secret'))), []);
});

test('signing out and a ban delete what the browser kept of raids', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Secret' });
  const keptRaids = page => page.evaluate(() => Object.keys(localStorage).filter(key => /^raidhall\.(raids|commands)\./.test(key)).length);
  await ada.getByLabel('Say something').fill('unsent');
  for (const page of [ada, ben]) {
    await page.waitForFunction(() => Object.keys(localStorage).some(key => /^raidhall\.raids\.\d+\.view\./.test(key)));
  }
  await ada.getByRole('button', { name: 'Sign out' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'Sign out' }).click();
  await ada.getByLabel('Your name').waitFor();
  assert.equal(await keptRaids(ada), 0);
  // A command without an answer, which the open client does not know.
  await ben.evaluate(() => {
    const { id } = JSON.parse(localStorage.getItem('raidhall.session')).player;
    localStorage.setItem(`raidhall.commands.${id}/op`, '{}');
  });
  // Deleting the account signs the player out and closes the connection for good.
  const token = await ben.evaluate(() => JSON.parse(localStorage.getItem('raidhall.session')).access_token);
  await fetch(`${server.url}/api/v1/me`, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } });
  await ben.locator('[data-connection=stopped], form').filter({ hasText: /banned|session has ended/i }).first().waitFor();
  assert.equal(await keptRaids(ben), 0);
  // The raid stays on the screen of a banned player, but nothing of it is kept.
  const draft = ben.getByLabel('Say something');
  if (await draft.isVisible()) await draft.fill('too late');
  assert.equal(await keptRaids(ben), 0);
  await ben.reload();
  assert.equal(await keptRaids(ben), 0);
});

test('unseen messages show on the tab and in the title, across a reload', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Tunnel' }, {}, phone);
  const unread = (count, title) => ben.waitForFunction(([count, title]) => {
    const button = [...document.querySelectorAll('.parts button')].at(-1);
    return document.title === title && button.textContent.includes('unread') === count > 0 && (button.querySelector('.badge')?.textContent ?? '0') === String(count);
  }, [count, title]);
  await unread(0, '\u2068Tunnel\u2069 · Raidhall');
  for (const text of ['one', 'two', 'three']) await say(ada, text);
  await unread(3, '(3) \u2068Tunnel\u2069 · Raidhall');
  await ben.reload();
  await unread(3, '(3) \u2068Tunnel\u2069 · Raidhall');
  await shot(ben, 'unread-phone');
  await violations(ben, 'unread messages');
  await part(ben, 'Talk');
  await unread(0, '\u2068Tunnel\u2069 · Raidhall');
  await say(ben, 'hello');
  await part(ben, 'Tasks');
  await ben.reload();
  await sees(ben, '#raid-title', 'Tunnel');
  await unread(0, '\u2068Tunnel\u2069 · Raidhall');

  // On a desktop the chat is in view, so only a hidden page has unseen messages.
  const show = visibility => ada.evaluate(visibility => {
    Object.defineProperty(document, 'visibilityState', { value: visibility, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, visibility);
  await sees(ada, '.chat', 'hello');
  await ada.waitForFunction(() => !document.title.startsWith('('));
  await show('hidden');
  await part(ben, 'Talk');
  await say(ben, 'are you there?');
  await ada.waitForFunction(() => document.title.startsWith('(1) '));
  await show('visible');
  await ada.waitForFunction(() => !document.title.startsWith('('));
});

test('a chat draft survives a reload, Back and a reconnect, and ends when sent', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await create(page, { title: 'Tunnel' });
  const draft = () => page.getByLabel('Say something');
  await draft().fill('half a thou');
  await page.reload();
  await sees(page, '#raid-title', 'Tunnel');
  assert.equal(await draft().inputValue(), 'half a thou');
  await draft().press('End');
  await page.keyboard.type('ght');
  await page.goBack();
  await sees(page, 'h1', 'My raids');
  await create(page, { title: 'Other' });
  assert.equal(await draft().inputValue(), '', 'a draft belongs to its raid');
  await page.getByRole('button', { name: /My raids/ }).click();
  await page.getByRole('button', { name: 'Open Tunnel' }).click();
  assert.equal(await draft().inputValue(), 'half a thought');
  server.crash();
  await sees(page, '.connection', 'Reconnecting');
  await server.restart();
  await online(page);
  assert.equal(await draft().inputValue(), 'half a thought');
  await draft().press('Enter');
  await sees(page, '.chat li:not(.unsure)', 'half a thought');
  await page.reload();
  await sees(page, '.chat', 'half a thought');
  assert.equal(await draft().inputValue(), '');
});

test('the form for a new task is above the tasks, in two rows on a phone', async t => {
  const server = await Server.start(t);
  const page = await open(t, server, phone);
  await signIn(page, 'Ada');
  await create(page, { title: 'Tunnel' });
  await addTask(page, 'Dig', 40);
  const box = selector => page.locator(selector).evaluate(element => element.getBoundingClientRect().toJSON());
  const [form, task, xp, minutes, add] = await Promise.all(['.add-task', '.task', '[name=xp]', '[name=minutes]', '.add-task button'].map(box));
  assert.ok(form.bottom <= task.top);
  assert.deepEqual([minutes.bottom, add.bottom].map(Math.round), [xp.bottom, xp.bottom].map(Math.round));
  await shot(page, 'add-task-phone');
});

test('a message keeps the name of an author who has left', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Farewell' });
  await say(ben, 'so long');
  await ben.getByRole('button', { name: 'Leave' }).click();
  await ben.locator('dialog').getByRole('button', { name: 'Leave' }).click();
  await sees(ben, 'main', 'You left this raid.');
  await sees(ada, '.party .count', '1/4');
  await ada.reload();
  await sees(ada, '.chat li', /Ben.*so long/);
});

test('two tabs share one player, including signing out', async t => {
  const server = await Server.start(t);
  const one = await open(t, server);
  await signIn(one, 'Ada');
  await create(one, { title: 'Twice' });
  const other = await one.context().newPage();
  await other.goto(one.url());
  await sees(other, '#raid-title', 'Twice');
  await say(other, 'from the other tab');
  await sees(one, '.chat', 'from the other tab');
  assert.equal(await one.locator('.member').count(), 1);
  await one.getByRole('button', { name: 'Sign out' }).click();
  await one.locator('dialog').getByRole('button', { name: 'Sign out' }).click();
  for (const page of [one, other]) await page.getByLabel('Your name').waitFor();
  assert.equal(await one.evaluate(() => localStorage.getItem('raidhall.session')), null);
});

test('a browser storage with anything else shows the sign-in page', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  for (const text of ['{}', 'true', '[]', '{"language":"constructor"}']) {
    await page.evaluate(text => {
      for (const key of ['raidhall.session', 'raidhall.settings']) localStorage.setItem(key, text);
    }, text);
    await page.reload();
    await page.getByLabel('Your name').waitFor();
  }
});

test('the app is installable, and its files are compressed and cached', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  const wire = await page.context().newCDPSession(page);
  const { errors, data } = await wire.send('Page.getAppManifest');
  assert.deepEqual(errors, []);
  const manifest = JSON.parse(data);
  for (const { src, sizes, type } of manifest.icons) {
    const icon = await fetch(server.url + src);
    assert.deepEqual([icon.status, icon.headers.get('content-type')], [200, type]);
    if (type !== 'image/png') continue;
    const header = Buffer.from(await icon.arrayBuffer());
    assert.equal(`${header.readUInt32BE(16)}x${header.readUInt32BE(20)}`, sizes);
  }
  await page.evaluate(() => navigator.serviceWorker.ready);
  const { installabilityErrors } = await wire.send('Page.getInstallabilityErrors');
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito'), []);

  const scripts = await page.evaluate(() => performance.getEntriesByType('resource').filter(({ initiatorType }) => initiatorType === 'script').map(({ name }) => name));
  assert.ok(scripts.length > 0);
  let bytes = 0;
  for (const url of scripts) {
    const answer = await fetch(url, { method: 'GET', headers: { 'accept-encoding': 'gzip' } });
    assert.equal(answer.headers.get('content-encoding'), 'gzip');
    assert.equal(answer.headers.get('cache-control'), 'public, max-age=31536000, immutable');
    bytes += Number(answer.headers.get('content-length'));
  }
  t.diagnostic(`first load: ${bytes} bytes of gzipped script`);
  assert.ok(bytes > 10_000 && bytes < 120_000, `${bytes} bytes of script`);
  const gone = await fetch(server.url + '/assets/of-another-release.js');
  assert.deepEqual([gone.status, (await gone.json()).error.type], [404, 'not_found']);
  const index = await fetch(server.url + '/');
  assert.equal((await fetch(server.url + '/', { headers: { 'if-none-match': index.headers.get('etag') } })).status, 304);
});
