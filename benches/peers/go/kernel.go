package main

import (
	"iter"
	"time"
)

// The sequential parts of the workloads, as in ../kit/src/kernel.rs.

// scramble is a step of a generator of numbers that look random.
func scramble(n uint64) uint64 {
	n *= 0x9e3779b97f4a7c15
	n = (n ^ n>>32) * 0xd6e8feb86659fd93
	return n ^ n>>32
}

// burnt keeps what compute and burn do from being optimised away.
var burnt uint64

// How many steps of a turn a lock is held for, and how many not.
const (
	locked   = 10
	unlocked = 100
)

// stage is how many steps a stage of a pipeline takes for a value.
const stage = 1000

// compute takes so many steps.
func compute(count int) {
	n := uint64(1)
	for range count {
		n = scramble(n + 1)
	}
	if n == 0 {
		burnt++
	}
}

// burn computes for so long, and gives how many steps that were.
func burn(d time.Duration) (steps uint64) {
	const betweenLooks = 1000
	n := uint64(1)
	for start := time.Now(); time.Since(start) < d; steps += betweenLooks {
		for range betweenLooks {
			n = scramble(n + 1)
		}
	}
	if n == 0 {
		burnt++
	}
	return steps
}

// sortedAtOnce is how many numbers are.
const sortedAtOnce = 512

func numbers(count int) []uint64 {
	numbers := make([]uint64, count)
	for i := range numbers {
		numbers[i] = scramble(uint64(i) + 1)
	}
	return numbers
}

// partition moves what is small before what is large, and gives both parts.
func partition(numbers []uint64) (small, large []uint64) {
	low, high := 0, len(numbers)-1
	pivot := median(numbers[low], numbers[high/2], numbers[high])
	for {
		for numbers[low] < pivot {
			low++
		}
		for numbers[high] > pivot {
			high--
		}
		if low >= high {
			return numbers[:high+1], numbers[high+1:]
		}
		numbers[low], numbers[high] = numbers[high], numbers[low]
		low++
		high--
	}
}

func median(a, b, c uint64) uint64 {
	return max(min(a, b), min(max(a, b), c))
}

// checksum depends on every number and its place.
func checksum[N uint64 | float64](numbers []N) (sum uint64) {
	for i, n := range numbers {
		sum += uint64(n) * uint64(i+1)
	}
	return sum
}

// rowsAtOnce is how many rows of a product are computed at a time.
const rowsAtOnce = 4

// factors are two square matrices to be multiplied.
type factors struct {
	size        int
	left, right []float64
}

func newFactors(size int) *factors {
	entries := func(seed uint64) []float64 {
		entries := make([]float64, size*size)
		for at := range entries {
			entries[at] = float64(scramble(uint64(at)+seed) % 10)
		}
		return entries
	}
	return &factors{size, entries(1), entries(2)}
}

// multiply computes some rows of the product, from the first given one on.
func (f *factors) multiply(first int, rows []float64) {
	for ; len(rows) > 0; first, rows = first+1, rows[f.size:] {
		row := rows[:f.size]
		clear(row)
		for k, factor := range f.left[first*f.size:][:f.size] {
			right := f.right[k*f.size:][:f.size]
			for i, entry := range right {
				row[i] += factor * entry
			}
		}
	}
}

// board is a chess board with some queens on its first rows: a bit for each column, and what the queens
// attack on the next row, down and in the two slanting directions.
type board struct{ all, columns, left, right uint32 }

func newBoard(size int) board { return board{all: 1<<size - 1} }

func (b board) full() bool { return b.columns == b.all }

// next is the boards with one queen more, which no other attacks.
func (b board) next() iter.Seq[board] {
	return func(yield func(board) bool) {
		for free := b.all &^ (b.columns | b.left | b.right); free != 0; {
			queen := free & -free
			free ^= queen
			next := board{b.all, b.columns | queen, (b.left | queen) << 1, (b.right | queen) >> 1}
			if !yield(next) {
				return
			}
		}
	}
}
