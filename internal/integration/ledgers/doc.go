// Package ledgers tests pool/sqlledger against real databases: SQLite as files, PostgreSQL and MariaDB as
// servers that servers.sh starts. It runs the conformance suites, several processes on one ledger, processes
// killed in the middle, commits held back on the wire, full disks, damaged data, and databases of earlier
// releases, and prints which engine passed which case.
//
// It is a part of the module internal/integration, so that no importer of Berthage is burdened with SQL
// drivers.
package ledgers
