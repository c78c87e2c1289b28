package hetzner

import (
	"github.com/berthage/berthage/hypervisor"
)

// TagLabels, ReadTag, WriteText, ReadText and Millionths are as in the package.
func TagLabels(t hypervisor.Tag, location string) map[string]string { return tagLabels(t, location) }

func ReadTag(labels map[string]string, location string) (hypervisor.Tag, bool) {
	return readTag(labels, location)
}

func WriteText(labels map[string]string, key, text string) { writeText(labels, key, text) }

func ReadText(labels map[string]string, key string) string { return readText(labels, key) }

func Millionths(s string) (int64, error) { return millionths(s) }

// Scarce is as in the package.
func (l *Limit) Scarce() bool { return l.scarce() }
