// Package berthage runs virtual machines on a fleet of mixed hosts.
package berthage
