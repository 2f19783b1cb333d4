// Where a notification leads. Its URL comes from the host app's backend: **only https and paths of
// the app are opened**.

export interface Link {
  readonly href: string;
  /** The host of another site; null for a page of the app. */
  readonly host: string | null;
}

export function linkOf(url: string, origin: string): Link | null {
  if (!URL.canParse(url, origin)) return null;
  const { href, host, protocol, origin: its } = new URL(url, origin);
  if (url.startsWith('/') && its === origin) return { href, host: null };
  return protocol === 'https:' && url.toLowerCase().startsWith('https://') ? { href, host } : null;
}
