// State of components: values that several share, what they load, and what a user asked for.

import { useCallback, useEffect, useRef, useState } from "./vendor/libraries.js";

/** A value that components share: `use()` in a component, `set()` and `listen()` anywhere. */
export function store(value) {
  const listeners = new Set();
  const listen = (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return {
    listen,
    get: () => value,
    set(next) {
      value = next;
      for (const each of listeners) each(next);
    },
    use() {
      const [, show] = useState(value);
      useEffect(() => {
        show(value);
        return listen(show);
      }, []);
      return value;
    },
  };
}

/** Loads data when `inputs` change. Returns data, error and reload. */
export function useLoad(load, inputs) {
  const [state, setState] = useState({});
  const turn = useRef(0);
  const reload = useCallback(async () => {
    const mine = ++turn.current;
    const found = await load().then((data) => ({ data }), (error) => ({ error }));
    if (mine === turn.current) setState((old) => ({ ...old, error: undefined, ...found }));
  }, inputs);
  useEffect(() => {
    setState({});
    reload();
  }, [reload]);
  return { ...state, reload };
}

/** Returns a function that runs the work after some milliseconds, once for all its calls until then. */
export function useSoon(work, milliseconds) {
  const timer = useRef();
  useEffect(() => () => clearTimeout(timer.current), []);
  return () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      work();
    }, milliseconds);
  };
}

/** Runs what a user asked for: `act(work)` keeps the error, and isBusy while it runs. It returns whether it worked. */
export function useAct() {
  const [state, setState] = useState({});
  async function act(work) {
    setState({ isBusy: true });
    try {
      await work();
      setState({});
      return true;
    } catch (error) {
      setState({ error });
      return false;
    }
  }
  return { act, ...state };
}

/** Returns a function that makes handlers, which do their work and then reload. */
export const reloading = (...reloads) => (work) => async (values) => {
  await work(values);
  await Promise.all(reloads.map((reload) => reload()));
};
