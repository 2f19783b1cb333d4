// Level, frame and streak of a raid's members on its cards.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { addTask, claim, create, joinByCode, online, open, part, phone, press, same, sees, shot, signIn } from './app.mjs';
import { violations } from './axe.mjs';
import { give, giveCoins, giveXp, playerOf } from './players.mjs';
import { Server } from './server.mjs';

const profiles = /\/players\?ids=/;
const member = (page, name) => page.locator('.member', { hasText: name });
const button = (page, name) => page.getByRole('button', { name, exact: true });

// A contribution keeps the day of the player's streak.
const contribute = async (server, page) => {
  const raid = await page.evaluate(() => location.hash.split('/')[2]);
  await server.asBackend(`/raids/${raid}/commands`, { op: randomUUID(), cmd: { type: 'contribute', player: await playerOf(page), xp: 20, kind: 'study' } });
};

async function wearFrame(server, page, item) {
  await give(server, page, { type: 'grant_item', item });
  await page.getByRole('button', { name: /^My profile/ }).click();
  await page.locator(`[data-item=${item}]`).getByRole('button').click();
  await page.locator(`[data-item=${item}] [aria-label^=Equipped]`).waitFor();
}

async function setLanguage(page) {
  if (await button(page, 'Menu').isVisible()) await button(page, 'Menu').click();
  await page.getByRole('button', { name: 'Русский' }).click();
  await page.keyboard.press('Escape');
}

for (const [name, options] of [['dark, desktop', { colorScheme: 'dark' }], ['light, phone', { ...phone, colorScheme: 'light', reducedMotion: 'reduce' }]]) {
  test(`members’ cards have level, frame and streak: ${name}`, async t => {
    const server = await Server.start(t);
    const [ada, ben] = [await open(t, server), await open(t, server, options)];
    await signIn(ada, 'Ada');
    await signIn(ben, 'Ben');
    await giveXp(server, ada, 640);
    await wearFrame(server, ada, 'frame_gold');
    await button(ada, 'Raidhall: My raids').click();
    const code = await create(ada, { title: 'Read', xp: 50, tasks: 1, players: 20 });
    await addTask(ada, 'Chapter one', 40);
    await button(ada, 'Start raid').click();
    await contribute(server, ada);
    await sees(ada, '.member', '1-day streak');
    await joinByCode(ben, code);
    await sees(ben, '#raid-title', 'Read');
    const show = async name => { if (options.isMobile) await part(ben, name); };
    await show('Party');
    await member(ben, 'Ada').locator('.avatar.gold .level-badge').waitFor();
    await sees(ben, '.member', /Ada.*Level 4.*1-day streak/);
    await sees(ben, '.member', /Ben.*Level 1/);
    assert.equal(await member(ben, 'Ben').locator('.streak-of, .framed').count(), 0);
    await sees(ada, '.member', /Ben.*Level 1/);
    // The own card follows the own stream.
    await giveXp(server, ben, 120);
    await sees(ben, '.member', /Ben.*Level 2/);
    await violations(ben, 'members');
    await shot(ben, options.isMobile ? 'standing-phone' : 'standing');
    assert.ok(await ben.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
    await same(server, ada, ben);
    await show('Tasks');
    await claim(ben, 'Chapter one');
    await press(ben, 'Chapter one', 'Complete');
    await sees(ben, '.ranking li', /Ada.*Level 4.*1-day streak/);
    await ben.locator('.ranking .avatar.gold').waitFor();
    await sees(ben, '.ranking li', /Ben.*Level 2.*1-day streak/);
    await violations(ben, 'ranking');
    await shot(ben, options.isMobile ? 'standing-ranking-phone' : 'standing-ranking');
    assert.ok(await ben.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
    await setLanguage(ben);
    await sees(ben, '.ranking li', /Ada.*Уровень 4.*Серия: 1 день/);
  });
}

test('a hidden profile leaves the member’s card as it is', async t => {
  const server = await Server.start(t);
  const [ada, ben] = [await open(t, server), await open(t, server)];
  await signIn(ada, 'Ada');
  await signIn(ben, 'Ben');
  await giveXp(server, ada, 640);
  await ada.evaluate(async () => {
    const { access_token } = JSON.parse(localStorage.getItem('raidhall.session'));
    const headers = { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' };
    const answer = await fetch('/api/v1/me/commands', { method: 'POST', headers, body: JSON.stringify({ cmd: { type: 'set_setting', key: 'profile', value: 'hidden' } }) });
    if (!answer.ok) throw new Error(await answer.text());
  });
  const code = await create(ada, { title: 'Read' });
  const [ids] = await Promise.all([ben.waitForResponse(answer => profiles.test(answer.url())), joinByCode(ben, code)]);
  assert.deepEqual((await ids.json()).data, []);
  await sees(ben, '.member', /Ben.*Level 1/);
  assert.equal(await member(ben, 'Ada').locator('.level-badge, .framed, .streak-of').count(), 0);
  assert.ok(!(await member(ben, 'Ada').textContent()).includes('Level'));
  await sees(ada, '.member', /Ada.*Level 4/);
});

test('late profiles move no name, and a failed read shows no error', async t => {
  const server = await Server.start(t);
  const [ada, ben] = [await open(t, server, phone), await open(t, server)];
  await signIn(ada, 'Ada');
  await signIn(ben, 'Ben');
  await ada.route(profiles, route => route.abort());
  const code = await create(ada, { title: 'Read' });
  await part(ada, 'Party');
  await sees(ada, '.member', /Ada.*Level 1/);
  await Promise.all([ada.waitForEvent('requestfailed', request => profiles.test(request.url())), joinByCode(ben, code)]);
  await sees(ada, '.member', 'Ben');
  const places = () => ada.evaluate(() => [...document.querySelectorAll('.member, .member-name > span:first-child')].map(element => JSON.stringify(element.getBoundingClientRect())));
  const before = await places();
  const answer = { id: await playerOf(ben), name: 'Ben', level: 87, raids_won: 3, badges: [], streak_days: 1_234, frame: 'frame_silver' };
  await ada.unroute(profiles);
  await ada.route(profiles, route => route.fulfill({ json: { data: [answer] } }));
  await sees(ada, '.member', /Ben.*Level 87.*1,234-day streak/);
  assert.deepEqual(await places(), before);
  assert.equal(await ada.locator('.notice').count(), 0);
  assert.ok(await ada.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
});

// Waits until the loss of the streak is in the player's stream.
const lost = page => page.waitForFunction(async () => {
  const { access_token: token } = JSON.parse(localStorage.getItem('raidhall.session'));
  const answer = await fetch('/api/v1/me/state', { headers: { authorization: `Bearer ${token}` } });
  return answer.ok && (await answer.json()).data.state.streak.lapses_at === null;
}, undefined, { polling: 500 });

// Environment of a server whose clock is some hours behind.
const hoursAgo = hours => ({ LD_PRELOAD: process.env.RAIDHALL_TEST_FAKETIME, FAKETIME: `-${hours}h`, FAKETIME_DONT_FAKE_MONOTONIC: '1' });

test('a streak that has lapsed has no days and can be repaired once', async t => {
  const server = await Server.start(t, hoursAgo(80));
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await create(page, { title: 'Read', xp: 1_000, tasks: 3, minutes: 10_000 });
  await button(page, 'Start raid').click();
  await sees(page, '#raid-status', 'In progress');
  await contribute(server, page);
  await sees(page, '.member', '1-day streak');
  await giveCoins(server, page, 300);
  const restart = async settings => {
    server.crash();
    server.settings = settings;
    await server.restart();
    await online(page);
  };
  await restart(hoursAgo(30));
  await page.locator('.member .streak-of').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: /^My profile/ }).click();
  await sees(page, '.streak-days', '0 days');
  await sees(page, '#repair', 'You can repair your lost streak until');
  await violations(page, 'lapsed');
  await shot(page, 'streak-lapsed');
  await button(page, 'Repair for 100 coins').click();
  await sees(page, '.streak-days', '1 day');
  await button(page, 'Repair for 100 coins').waitFor({ state: 'detached' });

  await restart({});
  await sees(page, '.streak-days', '0 days');
  await lost(page);
  assert.equal(await button(page, 'Repair for 100 coins').count(), 0, 'it is offered twice in 30 days');
});
