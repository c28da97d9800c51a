-- Fugue State from TidalCycles 1.9: start `fugue play`, then evaluate the lines from `let` to the stream in place of
-- the start of Tidal, or put them into BootTidal.hs.
:set -XOverloadedStrings
import Sound.Tidal.Context

let fugue = Target { oName = "fugue", oAddress = "localhost", oPort = 9700, oBusPort = Nothing, oLatency = 0.02, oWindow = Nothing, oSchedule = Live, oHandshake = False }
    shapes = [ OSC "/fugue/note" (ArgList [("key", Nothing), ("velocity", Nothing)])
             , OSC "/fugue/forget" (ArgList [("forget", Nothing)])
             , OSC "/fugue/layer/{layer}/forget" (ArgList [("share", Nothing)])
             ]
    key = pI "key"
    velocity = pI "velocity"
    forget = pF "forget"
    layer = pI "layer"
    share = pF "share"
    -- a key is pressed, and let go a fifth of a cycle later
    notes p = stack [key p # velocity 100, 0.2 ~> (key p # velocity 0)]

tidal <- startStream defaultConfig [(fugue, shapes)]
let d1 = streamReplace tidal 1
    d2 = streamReplace tidal 2
    d3 = streamReplace tidal 3
    hush = streamHush tidal

d1 $ notes "57 60 64 67"
d2 $ slow 32 $ segment 128 $ forget saw
d3 $ slow 4 $ layer "1 2 3" # share "0.5"
hush
