// Invite links: what they show before joining, how they are joined, and what a refusal offers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, desktop, hostile, joinAsGuest, joinByCode, open, phone, sees, shot, signIn } from './app.mjs';
import { newPage } from './browser.mjs';
import { violations } from './axe.mjs';
import { Server } from './server.mjs';

const invited = (page, text) => sees(page, '.invited', text);

test('a guest sees who invites to what, and joins by one button', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server);
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: hostile, minutes: 60 });
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await sees(ada, '#raid-status', 'In progress');
  for (const [name, options] of [['phone', { ...phone, colorScheme: 'light' }], ['desktop', { ...desktop, colorScheme: 'dark' }]]) {
    const page = await open(t, server, options, 'i/' + code);
    await invited(page, 'Ada invites you to a raid');
    await invited(page, hostile);
    await invited(page, `${name === 'phone' ? 1 : 2} of 4 players`);
    await invited(page, /In progress.*Time left: (59:\d\d|1:00:00)/);
    assert.equal(await page.locator('.member').count(), 0, 'nothing is joined before the button');
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
    await violations(page, 'invite link');
    await shot(page, `invite-link-${name}`);
    await joinAsGuest(page, name);
    await sees(page, '#raid-title', hostile);
    await sees(ada, '.member', name);
  }
});

test('Back from an invite leads to the lobby and then out of the app', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server);
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: 'Ship it' });
  await ada.getByRole('button', { name: 'Invite' }).click();
  assert.equal(await ada.locator('dialog a').getAttribute('href'), `${server.url}/i/${code}`);

  const ben = await newPage(t, desktop);
  await ben.goto('about:blank');
  await ben.goto(`${server.url}/i/${code}`);
  await invited(ben, 'Ship it');
  await ben.reload();
  await invited(ben, 'Ship it');
  await ben.goBack();
  await sees(ben, 'h1', 'One goal.');
  await ben.goForward();
  await invited(ben, 'Ship it');
  await joinAsGuest(ben, 'Ben');
  await sees(ben, '#raid-title', 'Ship it');
  await ben.goBack();
  await sees(ben, 'h1', 'My raids');
  await ben.goBack();
  assert.equal(ben.url(), 'about:blank');
});

test('an invite opens the raid of a member, and links of older releases still work', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server);
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: 'Ship it' });
  for (const path of [`/i/${code}`, `/i/${code.toLowerCase()}`, `/#${code}`]) {
    await ada.goto('about:blank');
    await ada.goto(server.url + path);
    await sees(ada, '#raid-title', 'Ship it');
  }
  const ben = await open(t, server, {}, '#' + code);
  await joinAsGuest(ben, 'Ben');
  await sees(ben, '#raid-title', 'Ship it');
});

test('a refused invite says why and what to do next', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await Promise.all([open(t, server), open(t, server)]);
  await signIn(ada, 'Ada');
  await signIn(ben, 'Ben');
  const next = async (page, code, title, text) => {
    await page.goto(`${server.url}/i/${code}`);
    await invited(page, title);
    await invited(page, text);
    await page.getByRole('button', { name: 'Home page' }).waitFor();
    assert.equal(await page.getByRole('button', { name: /^Join/ }).count(), 0);
    assert.equal(await page.locator('.notice').count(), 0);
  };
  const eve = await open(t, server, { ...phone, colorScheme: 'dark' });
  await next(eve, '22222222', 'This invite doesn’t work', 'Ask for a new link.');
  await violations(eve, 'refused invite');
  await shot(eve, 'invite-wrong-phone');

  const code = await create(ada, { title: 'Two only', players: 2 });
  await joinByCode(ben, code);
  await sees(ben, '#raid-title', 'Two only');
  await next(eve, code, 'This raid is full', 'if a spot opens up');
  await invited(eve, 'Ada invites you to a raid');

  await ada.getByRole('button', { name: 'Remove Ben' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'Remove' }).click();
  await sees(ben, 'main', 'You were removed from this raid.');
  await next(ben, code, 'You can’t join this raid', 'You were removed from it and can’t rejoin.');
  assert.equal(await ben.locator('.invited', { hasText: 'invites you' }).count(), 0);
  await ben.getByRole('button', { name: 'Create your own raid' }).click();
  await ben.waitForFunction(() => document.activeElement.name === 'title');

  await ada.getByRole('button', { name: 'End raid' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'End raid' }).click();
  await sees(ada, '.outcome', 'Defeat');
  await next(eve, code, 'This raid has ended', 'Only its members can see the result.');
  await eve.getByRole('button', { name: 'Home page' }).click();
  await sees(eve, 'h1', 'One goal.');
  await ada.goto(`${server.url}/i/${code}`);
  await sees(ada, '.outcome', 'Defeat');
});

test('another account does not inherit the refusal of an invite', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await Promise.all([open(t, server), open(t, server)]);
  await signIn(ada, 'Ada');
  await signIn(ben, 'Ben');
  const code = await create(ada, { title: 'Not him' });
  await joinByCode(ben, code);
  await sees(ben, '#raid-title', 'Not him');
  await ben.goto('about:blank'); // the browser is not told of the removal
  await ada.getByRole('button', { name: 'Remove Ben' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'Remove' }).click();
  await ada.locator('.member', { hasText: 'Ben' }).waitFor({ state: 'detached' });
  await ben.goto(`${server.url}/i/${code}`);
  await ben.getByRole('button', { name: 'Join', exact: true }).click();
  await invited(ben, 'You can’t join this raid');
  await ben.reload();
  await invited(ben, 'You can’t join this raid');

  // The other tab changes the account.
  const other = await ben.context().newPage();
  await other.goto(server.url);
  await other.getByRole('button', { name: 'Sign out' }).click();
  await other.locator('dialog').getByRole('button', { name: 'Sign out' }).click();
  await ben.getByRole('button', { name: 'Join as a guest' }).waitFor();
  const session = await ada.evaluate(() => localStorage.getItem('raidhall.session'));
  await other.evaluate(session => localStorage.setItem('raidhall.session', session), session);
  await sees(ben, '#raid-title', 'Not him');
});

test('an invite that cannot be looked up now can be tried again', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server, { serviceWorkers: 'block' });
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: 'Busy' });
  const error = { type: 'unavailable', message: 'Try again', retry: true, retry_after_ms: null, fields: null };
  await ada.route(/\/api\/v1\/raids\/\d+$/, route => route.fulfill({ status: 503, json: { error } }));
  await ada.goto(`${server.url}/i/${code}`);
  await invited(ada, 'The server is unavailable. Try again.');
  assert.equal(await ada.getByRole('button', { name: 'Join', exact: true }).count(), 0);
  await ada.unrouteAll();
  await ada.locator('.invited').getByRole('button', { name: 'Try now' }).click();
  await sees(ada, '#raid-title', 'Busy');
});

test('a place that was taken while the page was open is refused, not lost', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server);
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: 'Two only', players: 2 });
  const [ben, eve] = await Promise.all([0, 1].map(() => open(t, server, {}, 'i/' + code)));
  for (const page of [ben, eve]) await invited(page, '1 of 2 players');
  await joinAsGuest(ben, 'Ben');
  await sees(ben, '#raid-title', 'Two only');
  await joinAsGuest(eve, 'Eve');
  await invited(eve, 'This raid is full');
});

test('the page of an invite says nothing about the raid, is not indexed and sends no referrer', async t => {
  const server = await Server.start(t);
  const [right, wrong] = await Promise.all(['K7MQ2XNB', '22222222'].map(code => fetch(`${server.url}/i/${code}`)));
  const page = await right.text();
  assert.equal(page, await wrong.text());
  assert.deepEqual([right.status, right.headers.get('x-robots-tag'), right.headers.get('referrer-policy')], [200, 'noindex', 'no-referrer']);
  for (const tag of ['og:title', 'og:description', 'og:type', 'og:site_name']) assert.match(page, new RegExp(`<meta property="${tag}" content="[^"]+">`));
});
