// Package ledgers tests pool/sqlledger against real databases: the conformance suites, several processes
// on one file, processes killed in the middle, full disks, and files of earlier releases.
//
// It is a part of the module internal/integration, so that no importer of Berthage is burdened with SQL
// drivers.
package ledgers
