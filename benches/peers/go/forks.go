package main

import (
	"slices"
	"sync"
	"time"
)

// Fork and join.

func fib(j job) *report {
	var fib func(n int) uint64
	fib = func(n int) uint64 {
		if n < 2 {
			return uint64(n)
		}
		var a uint64
		var ended sync.WaitGroup
		ended.Go(func() { a = fib(n - 1) })
		b := fib(n - 2)
		ended.Wait()
		return a + b
	}
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			for range n {
				sum += fib(j.size)
			}
			return sum
		})
	})
}

// children is how many a node of the skynet has.
const children = 10

// node sends the sum of so many leaves, counted from the first on.
func node(parent chan<- uint64, first, leaves uint64) {
	if leaves == 1 {
		parent <- first
		return
	}
	parts := make(chan uint64)
	share := leaves / children
	for child := range uint64(children) {
		go node(parts, first+child*share, share)
	}
	var sum uint64
	for range children {
		sum += <-parts
	}
	parent <- sum
}

func skynet(j job) *report {
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			result := make(chan uint64)
			for range n {
				go node(result, 0, uint64(j.size))
				sum += <-result
			}
			return sum
		})
	})
}

func queens(j job) *report {
	// In how many ways the board can be filled.
	var ways func(b board) uint64
	ways = func(b board) (sum uint64) {
		if b.full() {
			return 1
		}
		var ended sync.WaitGroup
		var parts [32]uint64
		children := 0
		for next := range b.next() {
			part := &parts[children]
			children++
			ended.Go(func() { *part = ways(next) })
		}
		ended.Wait()
		for _, part := range parts[:children] {
			sum += part
		}
		return sum
	}
	return j.repeat(func(n uint64) timed {
		return timing(func() (sum uint64) {
			for range n {
				sum += ways(newBoard(j.size))
			}
			return sum
		})
	})
}

func quicksort(j job) *report {
	var sort func(numbers []uint64)
	sort = func(numbers []uint64) {
		if len(numbers) <= sortedAtOnce {
			slices.Sort(numbers)
			return
		}
		small, large := partition(numbers)
		var ended sync.WaitGroup
		ended.Go(func() { sort(small) })
		sort(large)
		ended.Wait()
	}
	unsorted := numbers(j.size)
	return j.repeat(func(n uint64) (total timed) {
		for range n {
			numbers := slices.Clone(unsorted)
			start := time.Now()
			sort(numbers)
			total.taken += time.Since(start)
			total.checksum += checksum(numbers)
		}
		return total
	})
}

func matmul(j job) *report {
	factors := newFactors(j.size)
	var multiply func(first int, rows []float64)
	multiply = func(first int, rows []float64) {
		count := len(rows) / factors.size
		if count <= rowsAtOnce {
			factors.multiply(first, rows)
			return
		}
		half := count / 2
		var ended sync.WaitGroup
		ended.Go(func() { multiply(first, rows[:half*factors.size]) })
		multiply(first+half, rows[half*factors.size:])
		ended.Wait()
	}
	product := make([]float64, j.size*j.size)
	return j.repeat(func(n uint64) timed {
		start := time.Now()
		for range n {
			multiply(0, product)
		}
		return timed{time.Since(start), checksum(product)}
	})
}
