// The service worker: it caches the app's files, so that the app opens without a network and says
// that it is offline. Raid data comes over the WebSocket and is never cached here.
const KEPT = `raidhall ${'VERSION'}`;
const FILES = [/* FILES */];
/**
 * Timeout of a page load before the cached page is shown: longer than a good network takes, shorter
 * than a player waits.
 */
const PATIENCE_MS = 3_000;

addEventListener('install', event => {
  // Files in /assets have their hash in their name, so a copy from the HTTP cache cannot be stale.
  const fresh = FILES.map(url => new Request(url, { cache: url.startsWith('/assets/') ? 'default' : 'reload' }));
  event.waitUntil(caches.open(KEPT).then(cache => cache.addAll(fresh)));
});

addEventListener('activate', event => {
  const forget = names => Promise.all(names.filter(name => name !== KEPT).map(name => caches.delete(name)));
  event.waitUntil(caches.keys().then(forget).then(() => clients.claim()));
});

addEventListener('fetch', event => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin) return;
  const isPage = pathname === '/' || pathname.startsWith('/i/');
  if (request.mode === 'navigate' && isPage) event.respondWith(newest(request));
  else if (FILES.includes(pathname)) event.respondWith(kept(request));
});

/**
 * Returns the server's current page, or the cached one if the server fails or does not answer in
 * time.
 */
async function newest(request) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    const answer = await fetch(request, { signal: patience.signal });
    // A 5xx comes from a proxy whose server is down: then the cached page is better.
    if (answer.status < 500) return answer;
  } catch {
    // Offline, or too slow.
  } finally {
    clearTimeout(timer);
  }
  return kept('/');
}

async function kept(request) {
  const cache = await caches.open(KEPT);
  return (await cache.match(request, { ignoreSearch: true, ignoreVary: true })) ?? fetch(request);
}
