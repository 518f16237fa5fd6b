// What would make the whole page scroll sideways: up to five elements.
() => {
  const page = document.querySelector('[data-testid=stMain]');
  if (page.scrollWidth <= page.clientWidth + 2) return [];
  const edge = page.getBoundingClientRect().right + 2;
  return [...page.querySelectorAll('*')]
    .filter((e) => e.getBoundingClientRect().right > edge)
    .map((e) => `${e.tagName} ${e.dataset.testid || e.className}`.slice(0, 80))
    .slice(0, 5);
};
