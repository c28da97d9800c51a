"""What tests of pages ask a browser."""

from __future__ import annotations

# A microphone in the audio graph.
LISTEN = """
    if (!fugue.ear) {
      fugue.ear = fugue.sound.context.createAnalyser();
      fugue.ear.fftSize = 8192;
      fugue.sound.node.connect(fugue.ear);
    }
    const heard = new Float32Array(8192);
    fugue.ear.getFloatTimeDomainData(heard);
    return Math.sqrt(heard.reduce((sum, x) => sum + x * x, 0) / heard.length);
"""
# Words that stand out too little (WCAG 1.4.3): as painted, as browsers mix colours in ways that axe cannot read.
FAINT = """
    const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
    const painted = (...colours) => {
      pen.clearRect(0, 0, 1, 1);
      for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
      return [...pen.getImageData(0, 0, 1, 1).data];
    };
    const light = (colours) => painted(...colours).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const grounds = (one) => (one ? [...grounds(one.parentElement), getComputedStyle(one).backgroundColor] : []);
    const words = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.disabled
      && [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    return words.map((one) => {
      const style = getComputedStyle(one);
      const [ink, ground] = [light([...grounds(one), style.color]), light(grounds(one))];
      const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      return [ratio, parseFloat(style.fontSize) >= 24 ? 3 : 4.5, one.outerHTML.slice(0, 90)];
    }).filter(([ratio, least]) => ratio < least);
"""
