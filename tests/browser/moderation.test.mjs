// A leader against a member who disturbs, and mistakes in tasks. `make test` runs this file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addTask, card, desktop, joinByCode, open, pair, part, phone, press, same, say, sees, shot, signIn } from './app.mjs';
import { Server } from './server.mjs';

const answer = (page, name) => page.locator('dialog').last().getByRole('button', { name, exact: true }).click();
const member = (page, name) => page.locator('.member', { hasText: name });

test('an author and the leader edit and delete a task, others cannot', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Tidy' }, {}, phone);
  await addTask(ben, 'Swep', 40);
  await addTask(ada, 'Mop', 40);
  assert.equal(await card(ben, 'Mop').getByRole('button', { name: /^(Edit|Delete)/ }).count(), 0);

  await press(ben, 'Swep', 'Edit');
  await ben.locator('dialog').getByLabel('Task title').fill('Sweep');
  await ben.locator('dialog').getByLabel('Minutes').fill('45');
  await answer(ben, 'Save');
  await sees(ada, '.task:not(.unsure)', 'Sweep');
  await sees(ada, '.task', '45 min');
  await press(ada, 'Sweep', 'Edit');
  await ada.locator('dialog').getByLabel('Task title').fill('Sweep the floor');
  await answer(ada, 'Save');
  await sees(ben, '.task', 'Sweep the floor');
  await same(server, ada, ben);

  await press(ben, 'Sweep the floor', 'Delete');
  await answer(ben, 'Cancel');
  await press(ben, 'Sweep the floor', 'Delete');
  await shot(ben, 'delete-task-phone');
  await answer(ben, 'Delete');
  await card(ada, 'Sweep').waitFor({ state: 'detached' });
  await ada.getByRole('button', { name: 'Activity' }).click();
  await sees(ada, '.feed', 'Ben deleted “Sweep the floor”');
  await same(server, ada, ben);
});

test('a muted player reads why and until when, and can write again after that', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Quiet' }, desktop, phone);
  await member(ada, 'Ben').getByRole('button', { name: 'Mute Ben' }).click();
  await shot(ada, 'mute');
  await answer(ada, '1 hour');
  await sees(ada, '.member', 'Muted until');
  await part(ben, 'Talk');
  await sees(ben, '.talk', /The leader has muted you until \d/);
  assert.equal(await ben.locator('.chat').innerText(), 'No messages yet.');
  assert.equal(await ben.getByLabel('Say something').count(), 0);
  await part(ben, 'Party');
  await sees(ben, '.party', 'The leader has muted you until');
  assert.equal(await ben.getByRole('button', { name: 'Send 🔥' }).count(), 0);
  await shot(ben, 'muted-phone');
  assert.ok(await ben.evaluate(() => document.documentElement.scrollWidth <= 360), 'it scrolls sideways at 360 px');

  await member(ada, 'Ben').getByRole('button', { name: 'Unmute Ben' }).click();
  await answer(ada, 'Unmute');
  await part(ben, 'Talk');
  await say(ben, 'sorry');
  await sees(ada, '.chat', 'sorry');
});

test('a kick deletes the member\'s tasks, and a new invite link keeps them out', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Raided' });
  await addTask(ada, 'Ours', 40);
  for (const title of ['Junk 1', 'Junk 2', 'Junk 3']) await addTask(ben, title, 1);
  await member(ada, 'Ben').getByRole('button', { name: 'Remove Ben' }).click();
  await answer(ada, 'Remove');
  await sees(ben, 'h1', 'You were removed from this raid.');
  await card(ada, 'Junk').first().waitFor({ state: 'detached' });
  assert.equal(await ada.locator('.task').count(), 1);
  await ada.getByRole('button', { name: 'Activity' }).click();
  await sees(ada, '.feed', 'Ada deleted several tasks');

  await ada.getByRole('button', { name: 'Invite' }).click();
  const old = await ada.locator('[data-invite]').getAttribute('data-invite');
  await ada.getByRole('button', { name: 'New invite link' }).click();
  await answer(ada, 'Replace');
  await ada.waitForFunction(old => document.querySelector('[data-invite]')?.dataset.invite !== old, old);
  await shot(ada, 'new-invite');
  const code = await ada.locator('[data-invite]').getAttribute('data-invite');
  const cy = await open(t, server);
  await signIn(cy, 'Cy');
  await joinByCode(cy, old);
  await sees(cy, 'body', 'No raid has that code.');
  await joinByCode(cy, code);
  await sees(cy, '#raid-title', 'Raided');
  await same(server, cy);
});
