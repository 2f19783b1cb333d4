import { dismiss, notices } from '../notices';
import { useWords } from '../settings';
import { useValue } from '../value';

export function Notices() {
  const words = useWords();
  return (
    <div className="notices" role="alert">
      {useValue(notices).map(({ id, text, tone }) => (
        <p key={id} className={`notice ${tone}`}>
          <span className="grow">{text}</span>
          <button type="button" className="quiet icon" aria-label={words.close} onClick={() => dismiss(id)}>✕</button>
        </p>
      ))}
    </div>
  );
}
