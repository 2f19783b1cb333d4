// Local storage, or memory that lasts as long as the page where the browser forbids it.

function inMemory(): Storage {
  const items = new Map<string, string>();
  return {
    get length() {
      return items.size;
    },
    key: index => [...items.keys()][index] ?? null,
    getItem: key => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: key => void items.delete(key),
    clear: () => items.clear(),
  };
}

function allowed(): Storage {
  try {
    return localStorage; // a browser that forbids it throws here
  } catch {
    return inMemory();
  }
}

export const kept = allowed();
