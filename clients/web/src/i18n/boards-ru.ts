import type { BoardsTexts } from './boards-en';
import { many, n } from './ru';

const players = (count: number): string => many(count, 'игрок', 'игрока', 'игроков');

export const boardsRu: BoardsTexts = {
  parts: { all: 'Все', companions: 'Соратники', around: 'Рядом со мной' },
  partLabel: 'Кого показать',
  rankTitle: 'Место',
  playerTitle: 'Игрок',
  scoreTitle: 'Счёт',
  rankNumber: rank => `${n(rank)}`,
  score: score => `${n(score)} XP`,
  you: 'вы',
  youAre: rank => `Вы: место ${n(rank)}`,
  previousWindow: 'Раньше',
  nextWindow: 'Позже',
  windows: 'Другие периоды',
  closesIn: ({ days, hours, minutes }) => `до конца ${days > 0 ? `${n(days)} д ${hours} ч` : hours > 0 ? `${hours} ч ${minutes} мин` : `${minutes} мин`}`,
  phases: { open: 'Идёт', counting: 'Итоги подводятся', final: 'Окончательные итоги' },
  noBoards: 'Рейтингов нет.',
  noScores: { all: 'Пока пусто. Заработайте XP в рейде и станьте первым.', companions: 'У соратников пока пусто. Соратники – это игроки, с которыми вы прошли рейд до конца.', around: 'Пока пусто. Заработайте XP в рейде и станьте первым.' },
  noScoresThen: 'Никто не набрал очков.',
  noBoard: 'Такого рейтинга нет.',
  noWindow: 'Такого периода нет.',
  notUpToDate: 'Данные устарели. Пробуем ещё раз…',
  rowsShown: (board, part, count) => `${board}, ${part}: ${players(count)}`,
  rowsAdded: count => `Ещё ${players(count)}`,
  visibility: 'Кто видит вас здесь',
  visibilities: { public: 'Все игроки', companions: 'Только соратники', hidden: 'Никто' },
  notListed: { companions: 'В рейтингах вас видят только соратники.', hidden: 'Вас нет в рейтингах.' },
  changeVisibility: 'Изменить',
};
