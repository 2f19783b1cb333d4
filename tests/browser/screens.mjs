// Takes the screenshots in docs/screens: `npm run screens`, after building the server, with
// RAIDHALL_TEST_CHROMIUM set.
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { addTask, claim, create, joinAsGuest, online, open, part, phone, press, say, sees, signIn } from './app.mjs';
import { Server } from './server.mjs';

const folder = fileURLToPath(new URL('../../docs/screens', import.meta.url));
const picture = (page, name) => page.screenshot({ path: `${folder}/${name}.png` });
const top = page => page.evaluate(() => scrollTo(0, 0));

test('screenshots of the main screens', async t => {
  await mkdir(folder, { recursive: true });
  const server = await Server.start(t);
  const ada = await open(t, server, { colorScheme: 'dark' });
  await ada.evaluate(() => document.activeElement.blur());
  await picture(ada, 'sign-in');
  await signIn(ada, 'Ada');
  const code = await create(ada, { title: 'Ship the release', xp: 200, tasks: 4, minutes: 45 });
  const ben = await open(t, server, { ...phone, colorScheme: 'light' }, 'i/' + code);
  await joinAsGuest(ben, 'Ben');
  const kim = await open(t, server, {}, 'i/' + code);
  await joinAsGuest(kim, 'Kim');
  for (const [title, xp] of [['Write the changelog', 40], ['Fix the flaky test', 80], ['Tag and sign it', 30], ['Tell the users', 50]]) await addTask(ada, title, xp);
  await ada.getByRole('button', { name: 'Invite' }).click();
  await ada.locator('.qr').waitFor();
  await picture(ada, 'invite');
  await ada.keyboard.press('Escape');
  await ada.getByRole('button', { name: 'Start raid' }).click();
  await claim(ben, 'Write the changelog');
  await claim(kim, 'Tag and sign it');
  await claim(ada, 'Fix the flaky test');
  await say(kim, 'Tagging as soon as the test is green');
  await say(ada, 'Two minutes!');
  await ben.locator('.task.mine:not(.unsure)').waitFor();
  await top(ben);
  await picture(ben, 'raid-phone');
  await top(ada);
  await kim.getByRole('button', { name: 'Send 💪' }).click();
  await press(ben, 'Write the changelog', 'Complete');
  await ada.locator('.rising').waitFor();
  await ada.waitForFunction(() => document.querySelector('.rising')?.getAnimations()[0]?.currentTime > 350);
  await picture(ada, 'raid');

  server.crash();
  for (const page of [ada, ben, kim]) await sees(page, '.connection', 'Reconnecting');
  await claim(ben, 'Tell the users');
  await sees(ben, '.connection', '1 change waiting to send');
  await top(ben);
  await picture(ben, 'reconnecting-phone');
  await server.restart();
  for (const page of [ada, ben, kim]) await online(page);
  await press(ben, 'Tell the users', 'Complete');
  await press(kim, 'Tag and sign it', 'Complete');
  await part(ben, 'Party');
  await press(ada, 'Fix the flaky test', 'Complete');
  await sees(ada, '.outcome', 'Victory!');
  await top(ada);
  await ada.waitForFunction(() => document.querySelector('canvas.particles'));
  // Later, the confetti is spread over the picture.
  await ada.waitForFunction(() => performance.now() > (window.shownAt ??= performance.now()) + 900);
  await picture(ada, 'victory');
  await ada.goto(server.url); // a new page, without the falling confetti
  await create(ada, { title: 'Clean the kitchen' });
  await ada.getByRole('button', { name: /My raids/ }).click();
  await sees(ada, '.raid-card', 'Clean the kitchen');
  await ada.evaluate(() => document.activeElement.blur());
  await picture(ada, 'lobby');
});
