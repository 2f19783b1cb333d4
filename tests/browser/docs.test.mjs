// The API reference at /docs in a real browser: it loads nothing from other hosts and obeys its
// content security policy.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newPage } from './browser.mjs';
import { Server } from './server.mjs';

test('a guest signs in from the API reference page', async t => {
  const server = await Server.start(t);
  const page = await newPage(t);
  const complaints = [];
  page.on('console', message => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', error => complaints.push(error.message));
  page.on('request', request => request.url().startsWith('data:') || request.url().startsWith(server.url) || complaints.push(request.url()));

  await page.goto(`${server.url}/docs`);
  const guest = page.locator('#operations-Signing_in-signInAsGuest, [id="operations-Signing in-signInAsGuest"]');
  await guest.locator('.opblock-summary-control').click();
  await guest.getByRole('button', { name: 'Execute' }).click();
  const answer = guest.locator('.live-responses-table .response-col_status');
  await answer.first().waitFor();
  assert.match(await answer.last().textContent(), /201/);
  assert.match(await guest.locator('.live-responses-table').textContent(), /access_token/);
  assert.deepEqual(complaints, []);
});
