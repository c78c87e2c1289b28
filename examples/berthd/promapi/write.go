package promapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/berthage/berthage/examples/berthd/history"
)

// mostUnpacked is the largest body of a remote write, unpacked, in bytes. The edge bounds what comes over the wire.
const mostUnpacked = 32 << 20

// write takes samples by Prometheus's remote write 1.0. What can never be stored is answered with 400, which has the
// sender drop it; the rest of its batch is stored all the same.
func (s *server) write(w http.ResponseWriter, r *http.Request) {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-protobuf" || parameters["proto"] != "" && parameters["proto"] != "prometheus.WriteRequest" {
		http.Error(w, "remote write 1.0 is wanted: application/x-protobuf", http.StatusUnsupportedMediaType)
		return
	}
	if e := r.Header.Get("Content-Encoding"); e != "snappy" && e != "" {
		http.Error(w, "a body packed by snappy is wanted", http.StatusUnsupportedMediaType)
		return
	}
	req, status, err := unpack(r.Body)
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	samples, refused := s.samples(req)
	err = s.History.Append(r.Context(), samples)
	var rejected *history.Rejected
	switch {
	case errors.As(err, &rejected):
		refused = rejected
	case err != nil:
		s.Logger.Warn("remote write failed", "error", err)
		http.Error(w, "see the daemon's log", http.StatusInternalServerError)
		return
	}
	stored := len(samples)
	if rejected != nil {
		stored -= rejected.Samples
	}
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(stored))
	w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
	w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	if refused != nil {
		http.Error(w, refused.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// unpack reads a request; the status is that of the error.
func unpack(body io.Reader) (*prompb.WriteRequest, int, error) {
	packed, err := io.ReadAll(body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, http.StatusRequestEntityTooLarge, err
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	n, err := snappy.DecodedLen(packed)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	if n > mostUnpacked { // before any of it is unpacked
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the body unpacks to %d bytes, more than %d", n, mostUnpacked)
	}
	b, err := snappy.Decode(nil, packed)
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	req := new(prompb.WriteRequest)
	if err := req.Unmarshal(b); err != nil {
		return nil, http.StatusBadRequest, err
	}
	return req, 0, nil
}

// samples converts a request. The error is of the first series that cannot be kept; the others are returned.
func (s *server) samples(req *prompb.WriteRequest) ([]history.Sample, error) {
	for _, m := range req.Metadata {
		s.History.Describe(m.MetricFamilyName, history.Metadata{Type: strings.ToLower(m.Type.String()), Help: m.Help, Unit: m.Unit})
	}
	var out []history.Sample
	var refused error
	b := labels.NewScratchBuilder(16)
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		b.Reset()
		for _, l := range ts.Labels {
			b.Add(l.Name, l.Value)
		}
		b.Sort()
		l := b.Labels()
		err := keepable(l)
		if err == nil && len(ts.Histograms) > 0 {
			err = fmt.Errorf("%s: native histograms are not kept", l)
		}
		if err != nil {
			if refused == nil {
				refused = err
			}
			continue
		}
		l = s.Complete(l)
		for _, x := range ts.Samples {
			out = append(out, history.Sample{Labels: l, Time: x.Timestamp, Value: x.Value})
		}
	}
	return out, refused
}

// keepable reports labels that no series can have.
func keepable(l labels.Labels) error {
	if name, twice := l.HasDuplicateLabelNames(); twice {
		return fmt.Errorf("the label %.64q stands twice in one series", name)
	}
	if !l.IsValid(labelScheme) || l.Get(model.MetricNameLabel) == "" {
		return fmt.Errorf("%.200s is no series", l.String())
	}
	return history.Bounded(l)
}
