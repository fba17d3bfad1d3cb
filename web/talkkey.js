/** The talk key: the space bar, but where it has its own meaning, and Enter on the talk button. */

/**
 * @param {HTMLElement} button
 * @param {(down: boolean) => void} talk
 */
export function onTalkKey(button, talk) {
  /** @param {KeyboardEvent} event */
  const isTalkKey = (event) => {
    if (event.target === button) return event.code === "Space" || event.key === "Enter";
    const own = event.target instanceof Element && event.target.closest("button, input, select, textarea, summary, a");
    return event.code === "Space" && !own;
  };
  for (const type of /** @type {const} */ (["keydown", "keyup"])) {
    addEventListener(type, (event) => {
      if (!isTalkKey(event)) return;
      event.preventDefault();
      talk(type === "keydown");
    });
  }
}
