// Fugue State from Strudel (https://strudel.cc). A browser sends no OSC: `npx @strudel/osc` carries what `.osc()` says
// to port 57120 as SuperDirt's messages, and `python dirt_to_fugue.py` makes them those of `fugue play`:
// notes press keys, `gain` is how hard, `forget` is everything, `layer1` to `layer9` are layers.
const { forget, layer1 } = createParams('forget', 'layer1')

note("a3 c4 e4 g4").gain(rand.range(0.5, 0.9))
  .forget(saw.slow(32))
  .layer1(sine.range(0, 0.6).slow(8))
  .osc()
