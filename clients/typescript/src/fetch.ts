// The part of `fetch` that the client uses, with a time limit, and without types that only a browser
// declares.

export type Fetch = (url: string, init: FetchInit) => Promise<FetchResponse>;

export interface FetchInit {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly mode?: 'cors' | 'no-cors';
  /** An `AbortSignal`. */
  readonly signal?: any;
}

export interface FetchResponse {
  readonly ok: boolean;
  readonly status: number;
  json(): Promise<unknown>;
}

/** Time after which a request without a response has failed. */
const TIMEOUT_MS = 15_000;

/** A response whose body is JSON; `body` is undefined if it is anything else. */
export interface JsonResponse {
  readonly ok: boolean;
  readonly status: number;
  readonly body: unknown;
}

/** Sends a request. Rejects if there is no response in time, even if `fetch` ignores its signal. */
export function fetchJson(fetch: Fetch | undefined, url: string, init: FetchInit): Promise<JsonResponse> {
  return new Promise((resolve, reject) => {
    const controller = new AbortController();
    const timer = setTimeout(() => {
      reject(new Error(`no response within ${TIMEOUT_MS / 1_000} s`));
      controller.abort();
    }, TIMEOUT_MS);
    request(fetch ?? globalThis.fetch, url, { ...init, signal: controller.signal })
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}

async function request(fetch: Fetch, url: string, init: FetchInit): Promise<JsonResponse> {
  const response = await fetch(url, init);
  const { ok, status } = response;
  return { ok, status, body: await response.json().catch(() => undefined) };
}
