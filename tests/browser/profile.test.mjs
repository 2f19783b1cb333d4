// The player's profile page and the rewards that are shown as they come, once on one device.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { addTask, claim, create, online, open, phone, press, sees, shot, signIn } from './app.mjs';
import { violations } from './axe.mjs';
import { another, give, giveCoins, giveXp, playerOf, record, recorded, setFocused, setVisible, showed } from './players.mjs';
import { Server } from './server.mjs';

const button = (page, name) => page.getByRole('button', { name, exact: true });

async function openProfile(page) {
  await page.getByRole('button', { name: /^My profile/ }).click();
  await page.locator('.achievement').first().waitFor();
}

test('rewards that cannot be drawn yet wait, and leave no empty box', async t => {
  const server = await Server.start(t);
  const page = await open(t, server, { serviceWorkers: 'block' });
  await signIn(page, 'Ada');
  let asked = 0;
  await page.route(/\/assets\/reward-line-/, route => {
    asked++;
    return route.abort();
  });
  await page.reload();
  await page.locator('[data-connection=online]').waitFor();
  await giveXp(server, page, 15, 'Walk');
  await page.waitForFunction(() => document.querySelector('.level-badge'));
  await page.getByRole('button', { name: /^My profile/ }).click();
  await sees(page, '.totals', '15');
  assert.ok(asked > 0);
  assert.equal(await page.locator('.rewards.any').count(), 0);
  await page.unroute(/\/assets\/reward-line-/);
  await page.reload();
  await sees(page, '.rewards', '+15 XP');
});

test('a contribution earns a reward, which the profile has as well', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await openProfile(page);
  await sees(page, '.totals', 'XP that counts0');
  await sees(page, '.skills', 'No skills yet.');
  await sees(page, '.streak', '0 days');
  await sees(page, '.achievements', '0 of 15');
  await page.getByRole('button', { name: 'Go to my raids' }).click();
  await record(page);
  await create(page, { title: 'Read', xp: 1_000, tasks: 3 });
  await button(page, 'Start raid').click();
  await sees(page, '#raid-status', 'In progress');
  const raid = await page.evaluate(() => location.hash.split('/')[2]);
  // Rewards that come together share the room.
  await showed(page, 'Leader achievement');
  await server.asBackend(`/raids/${raid}/commands`, { op: randomUUID(), cmd: { type: 'contribute', player: await playerOf(page), xp: 120, kind: 'study' } });
  await sees(page, '.rewards li', '+120 XP contribution');
  await shot(page, 'rewards');
  await button(page, 'Close').click();
  await page.locator('.rewards li').first().waitFor({ state: 'detached' });
  for (const text of ['Level 2', 'First steps achievement']) await showed(page, text);

  await page.getByRole('button', { name: 'My profile: Ada, level 2' }).click();
  await sees(page, '#level-gauge', '180 XP to level 3');
  assert.equal(await page.getByRole('progressbar', { name: 'Level 2' }).getAttribute('aria-valuetext'), '20 of 200 XP');
  await sees(page, '.totals', 'XP that counts120');
  await sees(page, '.streak', '1 day');
  await sees(page, '.streak', 'Earn XP in a raid before');
  await sees(page, '.skills li', 'WisdomLevel 2120 XP');
  await sees(page, '.achievement.unlocked', 'First steps');
  assert.equal(await page.getByRole('progressbar', { name: 'Contributor' }).getAttribute('aria-valuetext'), '1 of 10');
  await page.getByRole('button', { name: 'Русский' }).click();
  await sees(page, '.achievement.unlocked', 'Первые шаги');
  await sees(page, '.skills li', 'Мудрость');
  await sees(page, '.streak', '1 день');
  await page.reload();
  await sees(page, '.achievement.unlocked', 'Первые шаги');
});

test('a reward is shown on one device only', async t => {
  const server = await Server.start(t);
  const one = await open(t, server);
  await signIn(one, 'Ada');
  const other = await another(t, server, one);
  await setFocused(other, false);
  for (const page of [one, other]) await record(page);
  await giveXp(server, one, 15, 'Walk');
  await showed(one, '+15 XP gift: Walk');
  await setVisible(one, 'hidden');
  await giveXp(server, one, 25, 'Swim');
  await showed(other, '+25 XP gift: Swim');
  // The theme comes after what the other device has told.
  await button(other, 'Theme: system').click();
  await button(one, 'Theme: dark').waitFor();
  await setVisible(one, 'visible');
  await giveXp(server, one, 35, 'Run');
  await showed(one, '+35 XP gift: Run');
  assert.deepEqual((await recorded(one)).filter(text => text.includes('XP')), ['+15 XP gift: Walk', '+35 XP gift: Run']);
  assert.deepEqual((await recorded(other)).filter(text => text.includes('XP')), ['+25 XP gift: Swim']);
});

test('rewards from the time of an absence are summed up once', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await sees(page, '.level-badge', '1');
  await record(page);
  await setVisible(page, 'hidden');
  await giveXp(server, page, 90);
  await giveXp(server, page, 30);
  await sees(page, '.level-badge', '2');
  assert.deepEqual(await recorded(page), []);
  await setVisible(page, 'visible');
  await showed(page, 'While you were away: +120 XP, level 2, 1 achievement');
  await setVisible(page, 'hidden');
  await setVisible(page, 'visible');

  await page.context().setOffline(true);
  await sees(page, '.connection', 'Reconnecting');
  await giveXp(server, page, 40);
  await page.context().setOffline(false);
  await showed(page, 'While you were away: +40 XP');
  await page.reload();
  await sees(page, '.level-badge', '2');
  await record(page);
  await giveXp(server, page, 5);
  await showed(page, '+5 XP');
  assert.deepEqual(await recorded(page), ['+5 XP gift: Walk']);
});

test('what came while the app was closed is summed up once at its start', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await record(page);
  await giveXp(server, page, 15);
  await showed(page, '+15 XP');
  const address = page.url();
  await page.goto('about:blank');
  await page.goBack();
  await online(page);
  await sees(page, '.level-badge', '1');
  await record(page);
  await giveXp(server, page, 5);
  await showed(page, '+5 XP');
  assert.deepEqual(await recorded(page), ['+5 XP gift: Walk'], 'all was shown before');

  const player = await playerOf(page);
  await page.goto('about:blank');
  for (const amount of [90, 30]) await server.asBackend(`/players/${player}/commands`, { op: randomUUID(), cmd: { type: 'grant_xp', amount, kind: 'habit', note: 'Run' } });
  await page.goto(address);
  await sees(page, '.rewards li', 'While you were away: +120 XP, level 2');
  await page.reload();
  await sees(page, '.level-badge', '2');
  await record(page);
  await giveXp(server, page, 7);
  await showed(page, '+7 XP');
  assert.deepEqual(await recorded(page), ['+7 XP gift: Walk']);
});

test('an item is bought and worn, and still worn after a reload', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await openProfile(page);
  const bronze = page.locator('[data-item=frame_bronze]');
  await sees(page, '[data-item=frame_bronze]', 'You need 100 more.');
  assert.equal(await button(page, 'Buy: Bronze frame').getAttribute('aria-disabled'), 'true');
  await button(page, 'Buy: Bronze frame').click({ force: true });
  await giveCoins(server, page, 260);
  await sees(page, '.coins', '260 coins');
  await button(page, 'Buy: Bronze frame').click();
  await button(page, 'Equip: Bronze frame').waitFor();
  assert.ok(await button(page, 'Equip: Bronze frame').evaluate(element => element === document.activeElement), 'the focus stays');
  await page.keyboard.press('Enter');
  await button(page, 'Equipped: Bronze frame').waitFor();
  await button(page, 'Buy: Early bird').click();
  await button(page, 'Equip: Early bird').click();
  await sees(page, '.summary', 'Early bird');
  await page.reload();
  await button(page, 'Equipped: Bronze frame').waitFor();
  await sees(page, '.summary', 'Early bird');
  assert.equal(await page.locator('.summary .avatar.bronze, .top > .me .avatar.bronze').count(), 2);
  assert.equal(await bronze.locator('.price').count(), 0);
});

test('a purchase that the server refuses is explained', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await giveCoins(server, page, 100);
  await openProfile(page);
  await sees(page, '.coins', '100 coins');
  await page.context().setOffline(true);
  await sees(page, '.connection', 'Reconnecting');
  await button(page, 'Buy: Bronze frame').click();
  await sees(page, '[data-item=frame_bronze]', 'sending…');
  await giveCoins(server, page, -50);
  await page.context().setOffline(false);
  await sees(page, '.notice', 'Not enough coins.');
  await sees(page, '[data-item=frame_bronze]', 'You need 50 more.');
});

test('the profile says that it loads, can be read again, and is there offline', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await page.route('**/api/v1/progression', route => route.abort());
  await signIn(page, 'Ada');
  await page.goto(`${server.url}/#/me`);
  await sees(page, '[role=alert]', 'Couldn’t load the achievements and the shop.');
  await sees(page, '#profile-name', 'Ada');
  let answer;
  await page.unroute('**/api/v1/progression');
  await page.route('**/api/v1/progression', route => { answer = () => route.continue(); });
  await button(page, 'Try now').click();
  await sees(page, '[role=status]', 'Loading…');
  await page.waitForFunction(() => !document.querySelector('.not-loaded'));
  answer();
  await page.locator('.achievement').first().waitFor();
  assert.equal(await page.title(), 'My profile · Raidhall');

  await page.unroute('**/api/v1/progression');
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.context().setOffline(true);
  await sees(page, '.connection', 'Reconnecting');
  await sees(page, '.totals', 'Coins0');
  await page.reload();
  await sees(page, '.offline-notice', 'Offline – as of');
  await page.locator('.achievement').first().waitFor();
  assert.equal(await page.locator('.shop button:not([aria-disabled=true])').count(), 0);
  await page.context().setOffline(false);
  await online(page);
  await page.locator('.offline-notice').waitFor({ state: 'detached' });
});

for (const [name, options] of [['dark, desktop', { colorScheme: 'dark' }], ['light, phone', { ...phone, colorScheme: 'light' }]]) {
  test(`axe finds no violation on the profile: ${name}`, async t => {
    const server = await Server.start(t);
    const page = await open(t, server, options);
    await signIn(page, 'Ada');
    await openProfile(page);
    await violations(page, 'empty');
    await giveCoins(server, page, 250);
    await giveXp(server, page, 640);
    await sees(page, '.rewards li', 'Level 4');
    await violations(page, 'rewards');
    await button(page, 'Buy: Bronze frame').click();
    await button(page, 'Equip: Bronze frame').click();
    await button(page, 'Equipped: Bronze frame').waitFor();
    await violations(page, 'with data');
    await shot(page, options.isMobile ? 'profile-phone' : 'profile', { fullPage: true });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
  });
}

test('on a phone rewards cover no control of a raid and not the time left', async t => {
  const server = await Server.start(t);
  const page = await open(t, server, { ...phone, reducedMotion: 'reduce' });
  await signIn(page, 'Ada');
  await create(page, { title: 'Read', xp: 1_000, tasks: 3 });
  await addTask(page, 'Chapter one', 120);
  await button(page, 'Start raid').click();
  await claim(page, 'Chapter one');
  await page.locator('.task.mine:not(.unsure)').waitFor();
  await press(page, 'Chapter one', 'Complete');
  await sees(page, '.rewards li', 'Level 2');
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.rewards.any')).animationName), 'none');
  const covered = await page.evaluate(() => {
    const box = document.querySelector('.rewards').getBoundingClientRect();
    const controls = document.querySelectorAll('main button, main input, .countdown, .top > button');
    return [...controls].filter(control => {
      const { left, right, top, bottom } = control.getBoundingClientRect();
      return left < box.right && right > box.left && top < box.bottom && bottom > box.top;
    }).map(({ textContent }) => textContent);
  });
  assert.deepEqual(covered, []);
  const cut = () => page.evaluate(() => [...document.querySelectorAll('.rewards li > span')].filter(({ scrollWidth, clientWidth, scrollHeight, clientHeight }) => scrollWidth > clientWidth || scrollHeight > clientHeight).map(({ textContent }) => textContent));
  assert.deepEqual(await cut(), []);
  await shot(page, 'rewards-phone');
});
