// Resolves once the page is drawn: its script rests, its charts are there, and nothing has changed
// for some frames, which a busy machine makes longer.
() =>
  new Promise((done) => {
    const FRAMES = 10;
    let calm = 0;
    const seen = new MutationObserver(() => (calm = 0));
    seen.observe(document.body, { childList: true, subtree: true, characterData: true });
    const drawn = () =>
      document.querySelector('[data-test-script-state=notRunning] h1') &&
      !document.querySelector('[data-testid=stSkeleton], [data-stale=true]') &&
      [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every((chart) =>
        chart.querySelector('svg, canvas')
      );
    const look = () => {
      calm = drawn() ? calm + 1 : 0;
      if (calm <= FRAMES) return requestAnimationFrame(look);
      seen.disconnect();
      done(true);
    };
    look();
  });
