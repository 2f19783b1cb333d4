// Helpers that use the web app as a player does: by its labels, buttons and visible text.
import assert from 'node:assert/strict';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { newPage } from './browser.mjs';

export const hostile = '<img src=x onerror="window.pwned=1"><b>'; // short enough for a name
export const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
export const desktop = { viewport: { width: 1180, height: 860 } };

const shots = fileURLToPath(new URL('../../target/screenshots', import.meta.url));
export const shot = (page, name, options = {}) => page.screenshot({ path: path.join(shots, `${name}.png`), ...options });

// A time zone in which it is about noon, so that an hour ahead is today whenever the tests run.
function noon() {
  const offset = 12 - new Date().getUTCHours();
  return `Etc/GMT${offset > 0 ? '-' : '+'}${Math.abs(offset)}`; // In these names the sign is reversed.
}

// Opens the app in a browser context of its own, so each page is another player. Fails the test
// when the page throws, breaks its content security policy, or treats a player's text as code or
// markup.
export async function open(t, server, options = {}, path = '') {
  const faults = [];
  const page = await newPage(t, { ...desktop, locale: 'en-US', timezoneId: noon(), ...options }, async page => {
    // A page that the test closed cannot be inspected.
    if (!page.isClosed()) {
      assert.equal(await page.evaluate(() => window.pwned), undefined, 'a text ran as code');
      assert.equal(await page.locator('main b b, main script, main img:not(.gate)').count(), 0, 'a text became markup');
    }
    assert.deepEqual(faults, []);
  });
  page.setDefaultTimeout(20_000);
  page.on('pageerror', error => faults.push(String(error)));
  page.on('console', line => { if (line.type() === 'error' && /Content.Security.Policy|React|Warning/i.test(line.text())) faults.push(line.text()); });
  await page.goto(server.url + '/' + path);
  return page;
}

export async function signIn(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Start playing' }).click();
  await online(page);
}

// Opens an invite link in a browser without a session and joins as a guest.
export async function joinAsGuest(page, name) {
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Join as a guest' }).click();
  await online(page);
}

// Returns the pages of Ada and Ben, opened with the two `options`, both in a raid that Ada leads.
export async function pair(t, server, raid, ...options) {
  const [ada, ben] = await Promise.all([0, 1].map(index => open(t, server, options[index] ?? {})));
  await signIn(ada, 'Ada');
  await signIn(ben, 'Ben');
  await joinByCode(ben, await create(ada, raid));
  await sees(ben, '#raid-title', raid.title);
  return [ada, ben];
}

export const online = page => page.locator('[data-connection=online]').waitFor({ timeout: 60_000 });

// Creates a raid and returns its invite code.
export async function create(page, { title, xp = 100, tasks = 2, minutes = 60, players = 4 }) {
  const form = page.getByRole('form', { name: 'Create a raid' });
  await form.getByLabel('Title').fill(title);
  for (const [label, value] of [['XP goal', xp], ['Task goal', tasks], ['Time limit', minutes], ['Max players', players]]) {
    await form.getByLabel(label).fill(String(value));
  }
  await form.getByRole('button', { name: 'Create raid' }).click();
  await sees(page, '#raid-title', title.trim());
  await page.getByRole('button', { name: 'Invite' }).click();
  const code = await page.locator('[data-invite]').getAttribute('data-invite');
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  return code;
}

export async function joinByCode(page, code) {
  await page.getByLabel('Invite code').fill(code);
  await page.getByRole('button', { name: 'Join', exact: true }).click();
}

export async function addTask(page, title, xp) {
  const form = page.getByRole('form', { name: 'Add a task' });
  await form.getByLabel('Task title').fill(title);
  await form.getByLabel('XP').fill(String(xp));
  await form.getByRole('button', { name: 'Add' }).click();
  await sees(page, '.task:not(.unsure)', title);
}

export const card = (page, title) => page.locator('.task', { hasText: title });
export const claim = (page, title) => card(page, title).getByRole('button', { name: /^Claim/ }).click();
export const press = (page, title, name) => card(page, title).getByRole('button', { name }).click();

export async function giveUp(page, title) {
  await press(page, title, 'Give up');
  await page.locator('dialog').getByRole('button', { name: 'Give up' }).click();
}

export async function say(page, text) {
  await page.getByLabel('Say something').fill(text);
  await page.getByLabel('Say something').press('Enter');
}

// Selects a part of the raid's screen: a phone shows one at a time.
export const part = (page, name) => page.locator('.parts').getByRole('button', { name }).click();

export async function sees(page, where, text) {
  await page.locator(where).filter({ hasText: text }).first().waitFor();
}

// Waits until each page shows the state that the server returns: the client's snapshot plus events
// must equal it.
export async function same(server, ...pages) {
  for (const page of pages) {
    const { token, id } = await page.evaluate(() => ({
      token: JSON.parse(localStorage.getItem('raidhall.session')).access_token,
      id: location.hash.split('/')[2],
    }));
    const answer = await fetch(`${server.url}/api/v1/raids/${id}`, { headers: { authorization: `Bearer ${token}` } });
    const { data: raid } = await answer.json();
    const grouped = number => number.toLocaleString('en-US');
    const one = (number, word) => `${grouped(number)} ${word}${number === 1 ? '' : 's'}`;
    const narrow = await page.locator('.parts').isVisible();
    const tasks = {
      xp: `${grouped(raid.current_xp)} of ${grouped(raid.target_xp)} XP`,
      tasks: `${raid.current_tasks} of ${one(raid.target_tasks, 'task')}`,
      board: raid.tasks.map(({ id, title, status }) => `${id} ${status} ${title}`).sort(),
    };
    const party = {
      party: raid.members.map(({ player, name, xp, tasks }) => `${player} ${name} ${grouped(xp)} XP · ${tasks} done`),
      online: raid.online.sort((one, other) => one - other),
    };
    for (const [name, expected] of [['Party', party], ['Tasks', tasks]]) {
      if (narrow) await part(page, name);
      await shows(page, expected);
    }
  }
}

async function shows(page, expected) {
  await page.waitForFunction(expected => {
    const text = (element, selector) => element.querySelector(selector).textContent;
    const all = selector => [...document.querySelectorAll(selector)];
    const statusOf = task => ['open', 'claimed', 'completed'].find(status => task.classList.contains(status));
    const shown = {
      xp: text(document, '#xp-gauge > span'),
      tasks: text(document, '#task-gauge > span'),
      board: all('.task').map(task => `${task.dataset.task} ${statusOf(task)} ${text(task, '.task-title')}`).sort(),
      party: all('.member').map(member => `${member.dataset.member} ${text(member, '.member-name > span')} ${text(member, 'small:last-child')}`),
      online: all('.member.online').map(member => Number(member.dataset.member)).sort((one, other) => one - other),
    };
    window.lastShown = Object.fromEntries(Object.keys(expected).map(key => [key, shown[key]]));
    return JSON.stringify(window.lastShown) === JSON.stringify(expected);
  }, expected).catch(async () => assert.deepEqual(await page.evaluate(() => window.lastShown), expected));
}
