# Fugue State from Sonic Pi: start `fugue play`, then run this in a buffer.
use_osc "localhost", 9700
use_bpm 60

osc "/fugue/play", 1
osc "/fugue/recall"

# A minor arpeggio; every key is let go before the next is pressed.
live_loop :notes do
  key = (chord :a3, :minor7).tick
  osc "/fugue/note", key, rrand_i(60, 110)
  sleep 0.45
  osc "/fugue/note", key, 0
  sleep 0.05
end

# Everything is forgotten in a minute, and comes back.
live_loop :forgetting do
  121.times do |step|
    osc "/fugue/forget", step / 120.0
    sleep 0.5
  end
  osc "/fugue/recall"
  sleep 8
end

# One layer breathes: layer 1 is nearest the latent, the last nearest the sound.
live_loop :layer do
  osc "/fugue/layer/2/forget", rrand(0, 0.6)
  sleep 2
end
