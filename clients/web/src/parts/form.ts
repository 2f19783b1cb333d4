// A form hook that ignores a second submit until the first is answered.
import { useState } from 'react';
import type { FormEvent } from 'react';
import { complain } from '../notices';

/**
 * Returns the form's `onSubmit` and whether it is being sent. `send` receives the fields by name;
 * its errors are shown.
 */
export function useForm(send: (fields: Record<string, string>, form: HTMLFormElement) => Promise<unknown>): { onSubmit: (event: FormEvent<HTMLFormElement>) => void; busy: boolean } {
  const [busy, setBusy] = useState(false);
  const onSubmit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    if (busy) return;
    const form = event.currentTarget;
    const fields = Object.fromEntries([...new FormData(form)].map(([name, field]) => [name, String(field)]));
    setBusy(true);
    send(fields, form).catch(complain).finally(() => setBusy(false));
  };
  return { onSubmit, busy };
}
