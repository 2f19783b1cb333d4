// The app without a network: its shell opens, and says that it is offline. What happens in a raid comes over the socket and is
// never kept here.
const KEPT = `raidhall ${'VERSION'}`;
const FILES = [/* FILES */];
/** Longer than a good network takes, shorter than a player waits. */
const PATIENCE_MS = 3_000;

addEventListener('install', event => {
  const fresh = FILES.map(url => new Request(url, { cache: 'reload' }));
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
  if (request.mode === 'navigate' && pathname === '/') event.respondWith(newest(request));
  else if (FILES.includes(pathname)) event.respondWith(kept(request));
});

/** The page as the server has it now, else as it was kept. */
async function newest(request) {
  try {
    return await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    return kept(request);
  }
}

async function kept(request) {
  const cache = await caches.open(KEPT);
  return (await cache.match(request, { ignoreSearch: true, ignoreVary: true })) ?? fetch(request);
}
