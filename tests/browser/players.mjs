// Helpers for what follows a player to each of their devices: rewards and notifications.
import { randomUUID } from 'node:crypto';
import { online, open, sees } from './app.mjs';

const session = page => page.evaluate(() => localStorage.getItem('raidhall.session'));
export const playerOf = async page => JSON.parse(await session(page)).player.id;

// Sends a command to the player's stream as the host app does.
export const give = async (server, page, cmd) => server.asBackend(`/players/${await playerOf(page)}/commands`, { op: randomUUID(), cmd });
export const giveXp = (server, page, amount, note = 'Walk') => give(server, page, { type: 'grant_xp', amount, kind: 'habit', note });
export const giveCoins = (server, page, amount) => give(server, page, { type: 'grant_coins', amount, note: 'Welcome' });
export const notify = (server, page, title, more = {}) => give(server, page, { type: 'notify', kind: 'sale', title, body: 'Frames for half.', ...more });

// Keeps the text of each reward that the page shows, and that of later ones.
export const record = page => page.evaluate(() => {
  window.rewards = [];
  const keep = node => node.querySelectorAll('.rewards li').forEach(line => window.rewards.includes(line) || window.rewards.push(line));
  new MutationObserver(() => keep(document)).observe(document.querySelector('.rewards'), { childList: true, subtree: true });
});
export const recorded = page => page.evaluate(() => window.rewards.map(line => line.textContent));
export const showed = (page, text) => page.waitForFunction(text => window.rewards.some(line => line.textContent.includes(text)), text);

// Opens another device of the player of a page.
export async function another(t, server, page, options) {
  const stored = await session(page);
  const other = await open(t, server, options);
  await other.evaluate(stored => localStorage.setItem('raidhall.session', stored), stored);
  await other.reload();
  await online(other);
  await sees(other, '.level-badge', '');
  return other;
}

export const setVisible = (page, visibility) => page.evaluate(visibility => {
  Object.defineProperty(document, 'visibilityState', { value: visibility, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}, visibility);

// Chromium without a screen gives each page the focus.
export const setFocused = (page, focused) => page.evaluate(focused => {
  document.hasFocus = () => focused;
  window.dispatchEvent(new Event(focused ? 'focus' : 'blur'));
}, focused);
