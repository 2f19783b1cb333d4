import { LIMITS } from '@raidhall/client';
import { endedBecause, signIn } from '../account';
import { useForm } from '../parts/form';
import { TextInput } from '../parts/text-input';
import { useWords } from '../settings';
import { useValue } from '../value';

export function SignIn() {
  const words = useWords();
  const ended = useValue(endedBecause);
  const { onSubmit, busy } = useForm(({ name }) => signIn((name ?? '').trim()));
  return (
    <section className="sign-in">
      <img className="gate" src="/icon.svg" alt="" width="128" height="128" />
      <h1>{words.tagline}</h1>
      <p className="pitch">{words.pitch}</p>
      <form className="panel" onSubmit={onSubmit}>
        {ended && <p className="warning" role="alert">{words.stopped[ended]}</p>}
        <label>
          {words.yourName}
          <TextInput name="name" placeholder={words.namePlaceholder} chars={LIMITS.name_chars} required autoFocus autoComplete="nickname" />
        </label>
        <button className="primary" disabled={busy}>{words.enter}</button>
        <p className="dim">{words.guestNote}</p>
      </form>
    </section>
  );
}
