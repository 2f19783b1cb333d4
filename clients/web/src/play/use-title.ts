import { useEffect } from 'react';

/** Sets the document's title while the page is shown. */
export function useTitle(page: string): void {
  useEffect(() => {
    document.title = `${page} · Raidhall`;
    return () => {
      document.title = 'Raidhall';
    };
  }, [page]);
}
