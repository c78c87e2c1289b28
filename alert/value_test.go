package alert_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/alert"
)

// TestAnyValueIsWritten: a value that is no finite number, as a division by nothing gives, does not keep an alert from being written.
func TestAnyValueIsWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for v, want := range map[float64]string{81.5: "81.5", 0: "0", math.Inf(1): `"+Inf"`, math.Inf(-1): `"-Inf"`, math.NaN(): `"NaN"`, 1e300: "1e+300"} {
		a := alert.Alert{Labels: labels(t, "alertname", "A"), Phase: alert.Firing, Value: v, Active: at, Fired: at, Annotations: map[string]string{"a": "b"}}
		b, err := json.Marshal(alert.Change{Alert: a})
		require.NoError(t, err)
		require.Contains(t, string(b), `"value":`+want)
		var back alert.Change
		require.NoError(t, json.Unmarshal(b, &back))
		if math.IsNaN(v) {
			require.True(t, math.IsNaN(back.Alert.Value))
			a.Value, back.Alert.Value = 0, 0
		}
		require.Equal(t, a, back.Alert)
	}
	var a alert.Alert
	for _, wrong := range []string{`{"value": "many"}`, `{"valeu": 1}`, `{"value": true}`, `7`} {
		require.ErrorIs(t, json.Unmarshal([]byte(wrong), &a), alert.ErrInvalid, wrong)
	}
}
