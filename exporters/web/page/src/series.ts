// Sums of what several processes have points of, each at times of its own.

export interface Series {
    times: number[] // ms
    values: number[]
}

// A process has a value from one of its points to the next, and for a while behind its last one: points come about once
// a second, and some seconds have none.
const longestGap = 5

// The sum, at each second that any of them has a value in.
export function sumOfSeries(all: { times: number[]; values: (number | null)[] }[]): Series {
    const bySecond = new Map<number, number>()
    const newest = Math.max(...all.flatMap(({ times }) => times.slice(-1)))
    for (const { times, values } of all) {
        const own = new Map<number, number>()
        times.forEach((time, i) => {
            const value = values[i]
            if (value === null) return
            const next = i + 1 < times.length ? times[i + 1] : newest + 1000
            const first = Math.floor(time / 1000)
            own.set(first, value)
            for (let second = first + 1; second < Math.floor(next / 1000) && second <= first + longestGap; ++second) own.set(second, value)
        })
        for (const [second, value] of own) bySecond.set(second, (bySecond.get(second) ?? 0) + value)
    }
    const seconds = [...bySecond.keys()].sort((a, b) => a - b)
    return { times: seconds.map((second) => second * 1000), values: seconds.map((second) => bySecond.get(second)!) }
}
