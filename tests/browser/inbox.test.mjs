// The inbox: notifications of the host app, read on one device and so on all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostile, online, open, phone, sees, shot, signIn } from './app.mjs';
import { violations } from './axe.mjs';
import { another, give, giveXp, notify, record, recorded, setFocused, setVisible, showed } from './players.mjs';
import { Server } from './server.mjs';

const bell = (page, unread = 0) => page.getByRole('button', { name: unread === 0 ? 'Inbox' : unread === 1 ? 'Inbox, 1 unread notification' : `Inbox, ${unread} unread notifications`, exact: true });
const titles = page => page.locator('.notification h2').allTextContents();

test('reading the inbox on one device clears the badge on the other', async t => {
  const server = await Server.start(t);
  const one = await open(t, server);
  await signIn(one, 'Ada');
  await bell(one).waitFor();
  const before = await bell(one).boundingBox();
  const other = await another(t, server, one);
  await notify(server, one, 'Sale');
  await notify(server, one, 'Gift', { kind: 'gift', body: 'Open it!' });
  for (const page of [one, other]) await bell(page, 2).waitFor();
  await sees(one, '[role=status]', 'New notification: Gift');
  assert.deepEqual(await bell(one, 2).boundingBox(), before, 'the header does not move');

  await setFocused(one, false);
  await bell(one, 2).click();
  await sees(one, '.notification.new', 'Sale');
  assert.deepEqual(await titles(one), ['Gift', 'Sale']);
  assert.equal(await one.title(), 'Inbox · Raidhall');
  // What has the theme has all earlier commands as well.
  await one.getByRole('button', { name: 'Theme: system' }).click();
  await other.getByRole('button', { name: 'Theme: dark' }).waitFor();
  await bell(other, 2).waitFor();

  await setFocused(one, true);
  for (const page of [one, other]) await bell(page).waitFor();
  assert.deepEqual(await one.locator('.notification .tag').allTextContents(), ['New', 'New'], 'they stay marked here');
  await bell(other).click();
  await sees(other, '.notification', 'Open it!');
  assert.equal(await other.locator('.notification.new').count(), 0);
  await one.getByRole('button', { name: /My raids/ }).click();
  await bell(one).click();
  await sees(one, '.notification', 'now');
  assert.equal(await one.locator('.notification.new').count(), 0);
});

test('rewards read no notification, and are still shown on one device only', async t => {
  const server = await Server.start(t);
  const one = await open(t, server);
  await signIn(one, 'Ada');
  await notify(server, one, 'Sale');
  await bell(one, 1).waitFor();
  await record(one);
  await giveXp(server, one, 15, 'Walk');
  await showed(one, '+15 XP gift: Walk');
  await one.getByRole('button', { name: 'Theme: system' }).click();
  const other = await another(t, server, one);
  await other.getByRole('button', { name: 'Theme: dark' }).waitFor();
  await record(other);
  await bell(other, 1).waitFor();
  await setFocused(one, false);
  await giveXp(server, one, 25, 'Swim');
  await showed(other, '+25 XP gift: Swim');
  await bell(other, 1).click();
  await bell(one).waitFor();
  await giveXp(server, one, 35, 'Run');
  await showed(other, '+35 XP gift: Run');
  assert.deepEqual(await recorded(other), ['+25 XP gift: Swim', '+35 XP gift: Run']);
  assert.deepEqual((await recorded(one)).filter(text => text.includes('XP')), ['+15 XP gift: Walk']);
});

test('reading the inbox loses no reward that a hidden page holds', async t => {
  const server = await Server.start(t);
  const one = await open(t, server);
  await signIn(one, 'Ada');
  await bell(one).click();
  await sees(one, '.inbox', 'No notifications yet.');
  await record(one);
  await setVisible(one, 'hidden');
  await giveXp(server, one, 15);
  await notify(server, one, 'Sale');
  await bell(one, 1).waitFor();
  await setVisible(one, 'visible');
  await showed(one, 'While you were away: +15 XP');
  await bell(one).waitFor();
});

test('links lead to https and to pages of the app, and texts stay texts', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await notify(server, page, 'Outside', { url: 'https://shop.example/frames' });
  await notify(server, page, 'Profile', { url: '/#/me' });
  await notify(server, page, hostile, { body: `${hostile} \u202eabc` });
  await give(server, page, { type: 'notify', kind: 'streak_at_risk', title: 'Play today', body: 'It ends at 23:00.' });
  await bell(page, 4).click();
  await sees(page, '.notification', 'Outside');
  assert.deepEqual(await titles(page), ['Play today', hostile, 'Profile', 'Outside']);
  const outside = page.getByRole('link', { name: 'Open shop.example (in a new tab)' });
  assert.deepEqual(await outside.evaluate(({ href, target, rel }) => [href, target, rel]), ['https://shop.example/frames', '_blank', 'noopener noreferrer']);
  assert.equal(await page.locator('.notification a').count(), 2);
  await page.getByRole('link', { name: 'Open', exact: true }).click();
  await sees(page, '#profile-name', 'Ada');
  await page.goBack();
  await sees(page, '.notification', 'Outside');
});

test('the inbox is read by keyboard, in Russian, and without a network', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await notify(server, page, 'Sale');
  await page.getByRole('button', { name: 'Русский' }).click();
  const inbox = page.getByRole('button', { name: 'Входящие, 1 непрочитанное уведомление', exact: true });
  await inbox.focus();
  await page.keyboard.press('Enter');
  await sees(page, '.notification', 'Новое');
  await page.waitForFunction(() => document.activeElement?.id === 'content');
  await page.getByRole('button', { name: 'Входящие', exact: true }).waitFor();
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.context().setOffline(true);
  await page.reload();
  await sees(page, '.offline-notice', 'Нет сети – данные на');
  await sees(page, '.notification', 'Sale');
  await page.evaluate(() => {
    for (const key of Object.keys(localStorage)) if (key.endsWith('.inbox')) localStorage.setItem(key, '{"at":1,"value":[{"seq":"x"}]}');
  });
  await page.reload();
  await sees(page, '[role=status]', 'Уведомления появятся, когда вернётся связь.');
  await page.context().setOffline(false);
  await online(page);
  await sees(page, '.notification', 'Sale');
  await page.getByRole('button', { name: 'Выйти' }).click();
  await page.locator('dialog').getByRole('button', { name: 'Выйти' }).click();
  await page.getByLabel('Ваше имя').waitFor();
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter(key => key.startsWith('raidhall.players'))), []);
});

for (const [name, options] of [['dark, desktop', { colorScheme: 'dark' }], ['light, desktop', { colorScheme: 'light' }], ['light, phone', { ...phone, colorScheme: 'light' }], ['dark, phone', { ...phone, colorScheme: 'dark' }]]) {
  test(`axe finds no violation in the inbox: ${name}`, async t => {
    const server = await Server.start(t);
    const page = await open(t, server, options);
    await signIn(page, 'Ada');
    await page.goto(`${server.url}/#/inbox`);
    await sees(page, '.inbox', 'No notifications yet.');
    await violations(page, 'empty');
    await page.getByRole('button', { name: /My raids/ }).click();
    await notify(server, page, 'W'.repeat(120), { body: 'w'.repeat(400), url: `https://${'shop.'.repeat(12)}example/` });
    await notify(server, page, 'Frames are on sale', { body: 'All frames cost half until Sunday.', url: 'https://shop.example/frames' });
    await notify(server, page, 'Your team is waiting', { body: 'Ben has created a raid for you.', url: '/#/' });
    if (options.isMobile) {
      await page.getByRole('button', { name: 'Menu, 3 unread notifications' }).click();
      await violations(page, 'menu');
      await shot(page, `inbox-menu-${options.colorScheme}`);
    }
    await bell(page, 3).click();
    await page.getByRole('heading', { name: 'Your team is waiting' }).waitFor();
    await page.locator('.badge').first().waitFor({ state: 'detached' });
    if (options.isMobile) assert.equal(await page.locator('#tools').isVisible(), false, 'the menu closes');
    await violations(page, 'with notifications');
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
    await shot(page, `inbox-${name.replace(', ', '-')}`);
  });
}
