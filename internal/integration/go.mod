module github.com/berthage/berthage/internal/integration

go 1.25.0
