// Raids played by two players in a real browser against the built server. `make test` runs this
// file.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addTask, card, claim, create, giveUp, hostile, joinAsGuest, joinByCode, online, open, pair, part, phone, press, same, say, sees, shot, signIn } from './app.mjs';
import { Server } from './server.mjs';

test('two players win a raid together although the server crashes', async t => {
  const server = await Server.start(t);
  const ada = await open(t, server, { colorScheme: 'dark' });
  await shot(ada, 'sign-in');
  await signIn(ada, 'Ada');
  await shot(ada, 'lobby');
  const code = await create(ada, { title: hostile, xp: 100, tasks: 2 });

  const ben = await open(t, server, { ...phone, colorScheme: 'light' }, 'i/' + code);
  await joinAsGuest(ben, hostile);
  await sees(ben, '#raid-title', hostile);
  await sees(ada, '.member', hostile);
  await ada.waitForFunction(() => document.querySelectorAll('.member.online').length === 2);

  await addTask(ada, 'Fix the build', 60);
  await addTask(ben, '<script>window.pwned=1</script>', 60);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await sees(ben, '#raid-status', 'In progress');
  assert.match(await ben.locator('.countdown b').textContent(), /^(59:5\d|1:00:00)$/);
  await claim(ada, 'Fix the build');
  await sees(ben, '.task.claimed', 'Ada is on it');
  await sees(ada, '.task.mine .focus', /24:5\d|25:00/);
  await press(ada, 'Fix the build', 'Complete');
  await sees(ben, '#xp-gauge', '60 of 100 XP');

  await part(ben, 'Talk');
  await say(ben, hostile);
  await sees(ada, '.chat', hostile);
  await part(ben, 'Party');
  await ben.getByRole('button', { name: 'Send 🔥' }).click();
  await sees(ada, '.emoted', '🔥');
  await same(server, ada, ben);
  await shot(ada, 'raid');
  await part(ben, 'Tasks');

  server.crash();
  for (const page of [ada, ben]) await sees(page, '.connection', 'Reconnecting');
  await say(ada, 'sent into the silence');
  await sees(ada, '.connection', '1 change waiting to send');
  await sees(ada, '.chat .unsure', 'sent into the silence');
  await claim(ben, '<script>');
  await sees(ben, '.task.mine.unsure', '<script>');
  await sees(ben, '.connection', '1 change waiting to send');
  await shot(ben, 'reconnecting-phone');
  await server.restart();

  await part(ben, 'Talk');
  for (const page of [ada, ben]) {
    await online(page);
    await sees(page, '.chat', 'sent into the silence');
    assert.equal(await page.locator('.chat li', { hasText: 'sent into the silence' }).count(), 1, 'said once');
  }
  await part(ben, 'Tasks');
  await ben.locator('.task.mine:not(.unsure)').waitFor();
  await press(ben, '<script>', 'Complete');
  for (const page of [ada, ben]) {
    await sees(page, '#raid-status', 'Victory');
    await sees(page, '.ranking .place-1', 'MVP');
    await sees(page, '.ranking', '60 XP');
  }
  await say(ada, 'well played');
  await part(ben, 'Talk');
  await sees(ben, '.chat', 'well played');
  await same(server, ada, ben);
  await shot(ada, 'victory');
  assert.ok(await ben.evaluate(() => document.documentElement.scrollWidth <= 360), 'it scrolls sideways at 360 px');
});

test('a double click acts on one task, and a completion can be undone', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await create(page, { title: 'Twice', xp: 1_000, tasks: 9 });
  for (const title of ['First', 'Second', 'Third']) await addTask(page, title, 40);
  await page.getByRole('button', { name: 'Start raid' }).click();
  const button = (title, name) => card(page, title).getByRole('button', { name });
  await button('First', /^Claim/).dblclick();
  await page.locator('.task.mine:not(.unsure)', { hasText: 'First' }).waitFor();
  assert.equal(await page.locator('.column.open .task').count(), 2);

  await claim(page, 'Second');
  await page.locator('.task.mine:not(.unsure)', { hasText: 'Second' }).waitFor();
  await button('First', 'Complete').dblclick();
  await button('First', 'Undo').dblclick();
  await button('First', 'Complete').and(page.locator(':not([aria-disabled])')).waitFor();
  await press(page, 'Second', 'Complete');
  await page.locator('.task.completed:not(.unsure)', { hasText: 'Second' }).waitFor();
  await sees(page, '#task-gauge', '1 of 9 tasks');
  await page.locator('.task.mine:not(.unsure)', { hasText: 'First' }).waitFor();

  // A completion that is not sent yet is sent when the page is left.
  await press(page, 'First', 'Complete');
  await page.reload();
  await page.locator('.task.completed:not(.unsure)', { hasText: 'First' }).waitFor();
  await same(server, page);
});

test('a completion is sent when the page is hidden and when the player signs out', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Leaving', xp: 1_000, tasks: 9 });
  for (const title of ['First', 'Second']) await addTask(ada, title, 40);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  for (const title of ['First', 'Second']) {
    await claim(ada, title);
    await ada.locator('.task.mine:not(.unsure)', { hasText: title }).waitFor();
  }
  await ada.evaluate(() => { window.setTimeout = () => 0; }); // no completion is sent because its time is over
  await press(ada, 'First', 'Complete');
  await ada.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { value: 'hidden' });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await ben.locator('.task.completed', { hasText: 'First' }).waitFor();
  await press(ada, 'Second', 'Complete');
  await ada.getByRole('button', { name: 'Sign out' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'Sign out' }).click();
  await ben.locator('.task.completed', { hasText: 'Second' }).waitFor();
});

test('XP rises and a failed task shakes the page for both players', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Effects', xp: 1_000 });
  await addTask(ada, 'Burst', 40);
  await addTask(ada, 'Shake', 250);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  for (const page of [ada, ben]) await watchEffects(page);
  await claim(ada, 'Burst');
  await press(ada, 'Burst', 'Complete');
  for (const page of [ada, ben]) await page.waitForFunction(() => window.rose.includes('+40 XP'));
  await claim(ada, 'Shake');
  await giveUp(ada, 'Shake');
  for (const page of [ada, ben]) await page.waitForFunction(() => window.shaken.length === 1);
  assert.ok(await ben.evaluate(() => window.shaken[0] >= 14), 'a task of 250 XP shakes heavily');
  await sees(ben, '.task.open', 'Shake');
});

test('reduced motion stops all animation and still shows earned XP', async t => {
  const server = await Server.start(t);
  const page = await open(t, server, { reducedMotion: 'reduce' });
  await signIn(page, 'Ada');
  await create(page, { title: 'Still', xp: 300, tasks: 1 });
  await addTask(page, 'Quiet', 300);
  await addTask(page, 'Failing', 300);
  await page.getByRole('button', { name: 'Start raid' }).click();
  await watchEffects(page);
  await claim(page, 'Failing');
  await giveUp(page, 'Failing');
  await claim(page, 'Quiet');
  await press(page, 'Quiet', 'Complete');
  await page.waitForFunction(() => window.rose.includes('+300 XP'));
  await sees(page, '.outcome', 'Victory!');
  assert.deepEqual(await page.evaluate(() => window.shaken), []);
  assert.equal(await page.locator('canvas.particles').count(), 0);
  assert.equal(await page.evaluate(() => document.getAnimations().filter(({ animationName }) => animationName).length), 0);
});

test('a promoted member leads and can remove the former leader', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Succession' });
  await sees(ben, '.goal-tools', 'Waiting for Ada to start…');
  await ada.getByRole('button', { name: 'Make Ben the leader' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'Cancel' }).click();
  await ada.getByRole('button', { name: 'Make Ben the leader' }).click();
  await ada.locator('dialog').getByRole('button', { name: 'Make leader' }).click();
  await ben.getByRole('button', { name: 'Start raid' }).waitFor();
  await same(server, ada, ben);
  await ben.getByRole('button', { name: 'Remove Ada' }).click();
  await ben.locator('dialog').getByRole('button', { name: 'Remove' }).click();
  await sees(ada, 'main', 'You were removed from this raid.');
  await ben.getByRole('button', { name: 'End raid' }).click();
  await ben.locator('dialog').getByRole('button', { name: 'End raid' }).click();
  await sees(ben, '.outcome', 'The raid was ended early.');
});

test('the app shows refusals: wrong code, full raid, task already taken', async t => {
  const server = await Server.start(t);
  const [ada, ben, eve] = await Promise.all([open(t, server), open(t, server), open(t, server)]);
  for (const [page, name] of [[ada, 'Ada'], [ben, 'Ben'], [eve, 'Eve']]) await signIn(page, name);
  await joinByCode(eve, '22222222');
  await sees(eve, '.notice', 'No raid has that code.');
  const code = await create(ada, { title: 'Two only', players: 2 });
  await joinByCode(ben, code.toLowerCase());
  await sees(ben, '#raid-title', 'Two only');
  await joinByCode(eve, code);
  await sees(eve, '.notice', 'This raid is full.');

  await addTask(ada, 'Only one may', 10);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await card(ben, 'Only one may').getByRole('button', { name: /^Claim/ }).waitFor();
  // Offline, Ben's page does not learn of Ada's claim before he makes his own.
  await ben.context().setOffline(true);
  await claim(ben, 'Only one may');
  await sees(ben, '.task.mine.unsure', 'Only one may');
  await claim(ada, 'Only one may');
  await ada.locator('.task.mine:not(.unsure)').waitFor();
  await ben.context().setOffline(false);
  await sees(ben, '.notice', 'Someone else just took that task.');
  await sees(ben, '.task.claimed:not(.mine)', 'Ada is on it');
  await same(server, ada);
});

test('costs are numbers, and leaving alone and giving up are asked', async t => {
  const server = await Server.start(t);
  const page = await open(t, server);
  await signIn(page, 'Ada');
  await create(page, { title: 'Costs', xp: 500 });
  await addTask(page, 'Dig', 40);
  await page.getByRole('button', { name: 'Start raid' }).click();
  await sees(page, '.own-energy', 'Energy 100 of 100');
  await press(page, 'Dig', 'Claim (−10 energy)');
  await sees(page, '.own-energy', 'Energy 90 of 100');
  await sees(page, '.member .energy-of', '90');
  await page.locator('.task.mine:not(.unsure)').waitFor();
  await card(page, 'Dig').getByRole('button', { name: 'Give up (−15 energy)' }).dblclick();
  await sees(page, 'dialog', 'This costs 15 of your 90 energy');
  await page.locator('dialog').getByRole('button', { name: 'Keep going' }).click();
  await giveUp(page, 'Dig');
  await sees(page, '.own-energy', 'Energy 75 of 100');
  await page.getByRole('button', { name: 'Leave' }).click();
  await sees(page, 'dialog', 'leaving ends the raid');
});

test('a raid not won by its deadline shows defeat to every player', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await pair(t, server, { title: 'Too much', xp: 1_000, minutes: 1 }, { colorScheme: 'dark' }, phone);
  for (const title of ['Done in time', 'In progress at the end', 'Never begun']) await addTask(ada, title, 40);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await claim(ada, 'Done in time');
  await press(ada, 'Done in time', 'Complete');
  await claim(ben, 'In progress at the end');
  await ada.locator('.countdown.tense').waitFor({ timeout: 60_000 });
  await ada.locator('.countdown.critical').waitFor();
  for (const page of [ada, ben]) {
    await sees(page, '.outcome', 'Time ran out.');
    await sees(page, '#raid-status', 'Defeat');
    const lines = await page.locator('.outcome li').evaluateAll(lines => lines.map(line => [...line.querySelectorAll('bdi, small')].map(({ textContent }) => textContent)));
    assert.deepEqual(lines, [['Ada', '40 XP · 1 done'], ['Ben', '0 XP · 0 done']]);
    await page.locator('.outcome li .level-badge').nth(1).waitFor();
    assert.deepEqual(await page.locator('.column h2').allTextContents(), ['Done 1', 'Not done 2']);
    assert.equal(await page.locator('.task button').count(), 0);
  }
  await shot(ada, 'defeat');
});

// Records the texts that rise and how far the page is shaken, in pixels.
async function watchEffects(page) {
  await page.evaluate(() => {
    window.rose = [];
    window.shaken = [];
    new MutationObserver(changes => changes.forEach(({ addedNodes }) => addedNodes.forEach(node => window.rose.push(node.textContent))))
      .observe(document.getElementById('effects'), { childList: true });
    const content = document.getElementById('content');
    const animate = content.animate;
    content.animate = function (frames, options) {
      window.shaken.push(Math.max(...frames.map(({ transform }) => Math.abs(parseFloat(transform.match(/translateX\((.*?)px/)[1])))));
      return animate.call(this, frames, options);
    };
  });
}

test('the tasks of a ranked raid come from the host app, and players only do them', async t => {
  const server = await Server.start(t);
  const [ada, ben] = await Promise.all([open(t, server), open(t, server, phone)]);
  await signIn(ada, 'Ada');
  await signIn(ben, 'Ben');
  const leader = await ada.evaluate(() => JSON.parse(localStorage.getItem('raidhall.session')).player.id);
  const { id, invite_code } = await server.asBackend('/raids', { title: 'Reading', target_xp: 40, target_tasks: 1, ranked: true, leader });
  await joinByCode(ben, invite_code);
  await sees(ben, '#raid-title', 'Reading');
  await sees(ben, 'main', 'Ranked');
  await sees(ben, 'main', 'The tasks of a ranked raid come from the app that set it up.');
  await server.asBackend(`/raids/${id}/commands`, { cmd: { type: 'add_task', title: 'Read', xp: 40, minutes: 5 } });
  await sees(ben, '.task', 'Read');
  await joinByCode(ada, invite_code);
  await sees(ada, '.task', 'Read');
  assert.equal(await ada.getByRole('form', { name: 'Add a task' }).count(), 0);
  assert.equal(await card(ada, 'Read').getByRole('button', { name: /^(Edit|Delete)/ }).count(), 0);
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await claim(ben, 'Read');
  await ada.getByRole('button', { name: 'Activity' }).click();
  await sees(ada, '.feed', '“Read” was added');
  await same(server, ada, ben);
  await shot(ben, 'ranked-phone');
  await press(ben, 'Read', 'Complete');
  await sees(ada, '#raid-status', 'Victory');
});
