/** Tells elements when they come into view and leave it: one watch for all, so that those seen at once are told together, in order. */
const handlers = new WeakMap<Element, (seen: boolean) => void>();
let observer: IntersectionObserver | undefined;

/** Calls back with whether an element is in view, or nearly so; returns what ends it. */
export function watch(element: Element, handler: (seen: boolean) => void): () => void {
  observer ??= new IntersectionObserver(
    (seen) => seen.forEach((one) => handlers.get(one.target)?.(one.isIntersecting)),
    { rootMargin: "300px 0px" },
  );
  handlers.set(element, handler);
  observer.observe(element);
  return () => {
    observer!.unobserve(element);
    handlers.delete(element);
  };
}
