// Words whose contrast with what is behind them is below 4.5 to 1, or 3 to 1 where they are large
// (WCAG 2.2, 1.4.3). Left out: icons, what is switched off, and words over marks of a chart.
() => {
  const channel = (x) => (x / 255 <= 0.03928 ? x / 3294.6 : ((x / 255 + 0.055) / 1.055) ** 2.4);
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const colour = (text) => {
    const v = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const whole = text.startsWith('color(') ? v.map((x, i) => (i < 3 ? 255 * x : x)) : v;
    return whole.length > 3 ? whole : [...whole, 1];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const above = (e) => (e ? [...above(e.parentElement), e] : []);
  const ground = (e) =>
    above(e).reduce((c, n) => over(colour(getComputedStyle(n).backgroundColor), c), [255, 255, 255]);
  const fade = (e) => above(e).reduce((o, n) => o * getComputedStyle(n).opacity, 1);
  const left_out = '[data-testid=stIconMaterial], [disabled], [aria-disabled=true], .mark-text';
  const found = new Set();
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const text = words.currentNode.textContent.trim();
    const e = words.currentNode.parentElement;
    const box = e.getBoundingClientRect();
    const style = getComputedStyle(e);
    if (!text || !box.width || !box.height || style.visibility === 'hidden') continue;
    if (['STYLE', 'SCRIPT', 'NOSCRIPT'].includes(e.tagName) || e.closest(left_out)) continue;
    const ink = colour(e instanceof SVGElement ? style.fill : style.color);
    const behind = ground(e);
    const [most, least] = [over([...ink.slice(0, 3), ink[3] * fade(e)], behind), behind]
      .map(light)
      .sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (most + 0.05) / (least + 0.05);
    if (ratio < (large ? 3 : 4.5)) {
      const where = e.closest('[data-testid]')?.dataset.testid;
      found.add(`${ratio.toFixed(2)} ${where} ${style.color}: ${text.slice(0, 40)}`);
    }
  }
  return [...found];
};
