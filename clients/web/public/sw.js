// The app without a network: its shell opens, and says that it is offline. What happens in a raid comes over the socket and is
// never kept here.
const KEPT = `raidhall ${'VERSION'}`;
const FILES = [/* FILES */];
/** Longer than a good network takes, shorter than a player waits. */
const PATIENCE_MS = 3_000;

addEventListener('install', event => {
  // What has its hash in its name is the same wherever it comes from.
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
  if (request.mode === 'navigate' && pathname === '/') event.respondWith(newest(request));
  else if (FILES.includes(pathname)) event.respondWith(kept(request));
});

/** The page as the server has it now, else as it was kept. */
async function newest(request) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    const answer = await fetch(request, { signal: patience.signal });
    // A proxy speaks for a server that is away.
    if (answer.status < 500) return answer;
  } catch {
    // There is no network, or one that is as good as none.
  } finally {
    clearTimeout(timer);
  }
  return kept(request);
}

async function kept(request) {
  const cache = await caches.open(KEPT);
  return (await cache.match(request, { ignoreSearch: true, ignoreVary: true })) ?? fetch(request);
}
