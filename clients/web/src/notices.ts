// Short messages to the player, mostly refusals. Each is shown for a few seconds and announced by
// screen readers.
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

/** Returns the text that explains an error to the player. */
export function explain(error: unknown): string {
  const { errors, checkFields, fieldNames } = words();
  if (!(error instanceof RaidhallError)) return errors.internal;
  // Others, such as the value of a setting, are in no form.
  const fields = error.fields.flatMap(({ field }) => fieldNames[field as keyof typeof fieldNames] ?? []);
  return fields.length > 0 ? checkFields(fields) : (errors[error.type] ?? error.message);
}

/** Shows an error of joining by an invite code: `not_found` means a wrong code there. */
export function complainOfCode(error: unknown): void {
  if (error instanceof RaidhallError && error.type === 'not_found') notify(words().wrongCode);
  else complain(error);
}

/** Shows an error to the player, except for commands that the end of the session cut off. */
export function complain(error: unknown): void {
  if (error instanceof RaidhallError && (error.type === 'closed' || error.reason === 'unauthenticated')) return;
  notify(explain(error));
}
