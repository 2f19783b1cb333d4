// The leaderboards: their windows, companions, the player's own place, and who sees the player.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { open, phone, sees, shot, signIn } from './app.mjs';
import { violations } from './axe.mjs';
import { playerOf } from './players.mjs';
import { Server } from './server.mjs';

const names = page => page.locator('.boards tbody bdi').allTextContents();
const scores = page => page.locator('.boards tbody .of-score').allTextContents();
const view = (page, name) => page.getByRole('group', { name: 'Players to show' }).getByRole('button', { name }).click();
const tab = (page, name) => page.getByRole('navigation', { name: 'Leaderboards' }).getByRole('link', { name });

async function openBoards(page) {
  const menu = page.getByRole('button', { name: 'Menu' });
  if (await menu.isVisible()) await menu.click();
  await page.getByRole('button', { name: 'Leaderboards' }).click();
  await page.locator('.boards').waitFor();
}

// Starts a raid of players, each an id or the name of a new one. Returns their ids, and how one of
// them gets XP.
async function raidOf(server, ...players) {
  const create = async name => (await server.asBackend('/players', { external_id: randomUUID(), name })).id;
  const leader = await create('Host');
  const ids = [];
  for (const player of players) ids.push(typeof player === 'number' ? player : await create(player));
  const { id } = await server.asBackend('/raids', { leader, title: 'Walk', target_xp: 100_000, target_tasks: 1, max_members: 50 });
  for (const player of ids) await server.asBackend(`/raids/${id}/members`, { player });
  const { access_token } = await server.asBackend(`/players/${leader}/tokens`);
  const headers = { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' };
  const started = await fetch(`${server.url}/api/v1/raids/${id}/commands`, { method: 'POST', headers, body: JSON.stringify({ cmd: { type: 'start' } }) });
  assert.equal(started.status, 200);
  const earn = (player, xp) => server.asBackend(`/raids/${id}/commands`, { op: randomUUID(), cmd: { type: 'contribute', player, xp, kind: 'study' } });
  return { ids, earn };
}

test('a board follows its scores, and shows companions and one’s own place', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await openBoards(page);
  await sees(page, '.boards', 'No scores yet');
  assert.equal(await page.title(), 'Today · Leaderboards · Raidhall');
  const { ids: [ada, ben], earn } = await raidOf(server, await playerOf(page), 'Ben');
  await earn(ben, 40);
  await sees(page, '.boards tbody', 'Ben');
  await earn(ada, 30);
  await sees(page, '.boards tr.mine', '30 XP');
  assert.deepEqual([await names(page), await scores(page)], [['Ben', 'Ada'], ['40 XP', '30 XP']]);
  await earn(ada, 20);
  await sees(page, '.boards tr:first-child', 'Ada');

  const others = await raidOf(server, 'Eve');
  await others.earn(others.ids[0], 500);
  await sees(page, '.boards tbody', 'Eve');
  await view(page, 'Companions');
  await sees(page, '[role=status]', 'Today, Companions: 1 player');
  await view(page, 'All');
  await tab(page, 'All time').click();
  await sees(page, '[role=status]', 'All time, All: 3 players');
  assert.equal(await tab(page, 'All time').getAttribute('aria-current'), 'page');
  assert.deepEqual(await names(page), ['Eve', 'Ada', 'Ben']);
  assert.equal(await page.locator('.period').count(), 0, 'it never closes');
  await page.goBack();
  await page.locator('.period').waitFor();
});

test('a long board is shown in parts, with one’s own place below or around it', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  const { ids, earn } = await raidOf(server, await playerOf(page), ...Array.from({ length: 44 }, (_, index) => `Player ${index + 1}`));
  for (const [index, player] of ids.slice(1).entries()) await earn(player, 200 - index);
  await earn(ids[0], 1);
  await page.goto(`${server.url}/#/boards/weekly`);
  await sees(page, '.own-place', 'You: #45');
  assert.equal((await names(page)).length, 20);
  await page.getByRole('button', { name: 'Load more' }).click();
  await sees(page, '[role=status]', '20 more players');
  assert.equal((await names(page)).length, 40);
  // A refresh of the first part keeps the others.
  await earn(ids[2], 50);
  await sees(page, '.boards tr:first-child', 'Player 2');
  assert.equal((await names(page)).length, 40);
  await page.getByRole('button', { name: 'Load more' }).click();
  await sees(page, '.boards tr.mine', '#45');
  assert.equal(await page.locator('.own-place').count(), 0);
  assert.equal(new Set(await names(page)).size, 45);
  await view(page, 'Around me');
  await sees(page, '[role=status]', 'This week, Around me');
  assert.ok((await names(page)).includes('Ada'));
  assert.ok(!(await names(page)).includes('Player 2'));
});

test('a past window has an address of its own, and faults are explained', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await openBoards(page);
  await sees(page, '.period', 'closes in');
  assert.equal(await page.getByRole('link', { name: 'Next' }).count(), 0);
  await page.getByRole('link', { name: 'Previous' }).click();
  await sees(page, '.boards', 'There were no scores.');
  assert.match(page.url(), /#\/boards\/daily\/\d+$/);
  await page.locator('[data-phase=counting], [data-phase=final]').waitFor();
  await page.reload();
  await sees(page, '.boards', 'There were no scores.');
  await page.getByRole('link', { name: 'Next' }).click();
  await sees(page, '.period', 'closes in');
  assert.match(page.url(), /#\/boards\/daily$/);

  await page.goto(`${server.url}/#/boards/of_another_server`);
  await sees(page, '.boards [role=alert]', 'There is no such leaderboard.');
  await page.route(/\/api\/v1\/boards\/daily/, route => route.abort());
  await tab(page, 'Today').click();
  await sees(page, '.boards [role=alert]', 'Can’t reach the server.');
  await page.unroute(/\/api\/v1\/boards\/daily/);
  await page.getByRole('button', { name: 'Try now' }).click();
  await sees(page, '.boards', 'No scores yet');
});

test('a player who is not listed is told so, and can change it', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  const { ids: [ada], earn } = await raidOf(server, await playerOf(page));
  await earn(ada, 30);
  await openBoards(page);
  await sees(page, '.boards tr.mine', '30 XP');
  await page.getByLabel('Who can see you here').selectOption('hidden');
  await sees(page, '.not-listed', 'You are hidden on leaderboards.');
  await page.locator('.boards tr.mine').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Change' }).click();
  await page.waitForFunction(() => document.activeElement?.id === 'board-visibility');
  await page.getByLabel('Who can see you here').selectOption('public');
  await sees(page, '.boards tr.mine', '30 XP');
  assert.equal(await page.locator('.not-listed').count(), 0);
});

for (const [name, options] of [['dark, desktop', { colorScheme: 'dark' }], ['light, phone', { ...phone, colorScheme: 'light', reducedMotion: 'reduce' }]]) {
  test(`the page is accessible and fits the screen: ${name}`, async t => {
    const server = await Server.start(t);
    const page = await open(t, server, options);
    await signIn(page, 'Ada');
    const { ids, earn } = await raidOf(server, await playerOf(page), 'Ben', 'Konstantin Konstantinopolsky of Hills', ...Array.from({ length: 20 }, (_, index) => `Player ${index + 1}`));
    for (const [index, player] of ids.slice(1).entries()) await earn(player, 400 - index);
    await earn(ids[0], 3);
    await openBoards(page);
    await sees(page, '.own-place', 'You: #23');
    const look = async label => {
      await violations(page, label);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
      await shot(page, `boards-${label}-${name.replaceAll(/\W+/g, '-')}`, { fullPage: true });
    };
    await look('en');
    await page.getByLabel('Who can see you here').selectOption('hidden');
    await page.locator('.not-listed').waitFor();
    if (await page.getByRole('button', { name: 'Menu' }).isVisible()) await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByRole('button', { name: 'Русский' }).click();
    await page.keyboard.press('Escape');
    await sees(page, '.period', 'до конца');
    await look('ru');
  });
}
