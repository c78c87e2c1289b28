package simulation_test

import "testing"

// exact is true where the build has been given the changes of overlay.Exact, which also replaces what stands
// here: then a seed gives the same history whenever it is played.
const exact = false

// secretsFrom has the ids and salts of a world follow from its seed.
func secretsFrom(*testing.T, uint64) {}
