import { timeOfDay } from '../play/time';
import { useSettings, useWords } from '../settings';

/** Says that the page shows the last view that this browser kept, and from when it is. */
export function OfflineNotice({ at }: { at: number }) {
  const words = useWords();
  const { language } = useSettings();
  return <p className="offline-notice panel" role="status"><b>{words.offlineAsOf(timeOfDay(at, language))}</b> {words.offlineReadOnly}</p>;
}
