// Short messages to the player: refusals, mostly. Each is shown for a while, and read out.
import { RaidhallError } from '@raidhall/client';
import { words } from './settings';
import { value } from './value';

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly tone: 'bad' | 'good';
}

const SHOWN_MS = 6_000;
const AT_ONCE = 3;
let ids = 0;

export const notices = value<readonly Notice[]>([]);

export function notify(text: string, tone: Notice['tone'] = 'bad'): void {
  const notice = { id: ++ids, text, tone };
  notices.set([...notices.get().filter(other => other.text !== text), notice].slice(-AT_ONCE));
  setTimeout(() => dismiss(notice.id), SHOWN_MS);
}

export function dismiss(id: number): void {
  notices.set(notices.get().filter(notice => notice.id !== id));
}

/** What to tell a player of an error. */
export function explain(error: unknown): string {
  const { errors, fieldNames } = words();
  if (!(error instanceof RaidhallError)) return errors.internal;
  const fields = error.fields.map(({ field }) => fieldNames[field as keyof typeof fieldNames] ?? field);
  return fields.length > 0 ? `${errors.invalid} (${fields.join(', ')})` : (errors[error.type] ?? error.message);
}

/** The same of a code to join by. */
export function complainOfCode(error: unknown): void {
  if (error instanceof RaidhallError && error.type === 'not_found') notify(words().wrongCode);
  else complain(error);
}

/** Tells the player what came of something that failed. A command that was cut off by signing out is not news. */
export function complain(error: unknown): void {
  if (error instanceof RaidhallError && error.type === 'closed') return;
  notify(explain(error));
}
